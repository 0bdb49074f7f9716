FROM busybox
USER 1:2
RUN true
USER nobody
