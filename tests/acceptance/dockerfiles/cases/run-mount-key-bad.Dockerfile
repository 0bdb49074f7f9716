FROM busybox
RUN --mount=typ=bind,target=/x true
