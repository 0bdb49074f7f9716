FROM busybox
COPY --parents dir/sub /p/
