FROM busybox
COPY ignored/x /
ADD ignored /
