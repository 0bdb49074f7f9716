ARG G=g
FROM busybox
LABEL g=$G
