FROM busybox AS a
LABEL l=1
FROM busybox AS A
LABEL l=2
FROM a
