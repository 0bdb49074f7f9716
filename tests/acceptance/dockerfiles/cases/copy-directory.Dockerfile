FROM busybox
WORKDIR /w
COPY dir .
COPY dir sub/
