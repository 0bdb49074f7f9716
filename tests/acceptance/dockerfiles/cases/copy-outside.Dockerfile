FROM busybox
COPY ../../etc/passwd /x
