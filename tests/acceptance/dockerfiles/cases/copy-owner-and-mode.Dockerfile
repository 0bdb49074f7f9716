FROM busybox
COPY --chown=7:8 --chmod=640 a.txt /x
COPY --chown=root:root b.txt /y
