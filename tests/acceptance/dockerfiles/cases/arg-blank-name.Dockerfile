FROM busybox
ARG =b
