FROM busybox
ENV S=a.txt D=/d
COPY $S ${D}/
