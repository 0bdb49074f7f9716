ARG T
FROM busybox:$T
RUN true
