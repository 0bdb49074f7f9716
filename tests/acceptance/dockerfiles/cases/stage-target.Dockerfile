FROM busybox AS one
LABEL l=one
FROM busybox AS two
LABEL l=two
