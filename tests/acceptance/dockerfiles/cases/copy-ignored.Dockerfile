FROM busybox
COPY ignored/x /x
