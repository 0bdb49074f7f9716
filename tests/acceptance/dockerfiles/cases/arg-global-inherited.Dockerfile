ARG G=g
FROM busybox
ARG G
LABEL g=$G
