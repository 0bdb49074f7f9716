ARG TAG=latest
FROM busybox:${TAG}
RUN true
