FROM busybox AS a
COPY --from=b /bin/sh /x
FROM a AS b
