FROM busybox
WORKDIR /a
WORKDIR b/../c
RUN pwd > /pwd
