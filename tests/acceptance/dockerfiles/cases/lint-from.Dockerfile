ARG G
FROM --platform=$TARGETPLATFORM busybox
FROM --platform=linux/amd64 busybox$H AS x
FROM busybox as Upper
FROM scratch AS context
from scratch AS upper
