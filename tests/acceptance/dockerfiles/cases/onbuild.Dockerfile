FROM busybox AS base
ONBUILD RUN echo made > /made
ONBUILD LABEL made=1
FROM base
LABEL own=1
