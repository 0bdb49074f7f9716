FROM busybox
ENV D=/x
WORKDIR $D/y
