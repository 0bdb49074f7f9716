ARG P=linux/amd64
FROM --platform=$P busybox
RUN true
