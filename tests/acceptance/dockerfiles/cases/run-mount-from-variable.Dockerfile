FROM busybox
RUN --mount=from=$x,target=/y true
