FROM busybox
USER 7
WORKDIR /owned
