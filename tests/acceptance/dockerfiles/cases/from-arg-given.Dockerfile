ARG TAG=nope
FROM busybox:${TAG}
LABEL t=1
