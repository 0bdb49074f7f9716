FROM busybox
COPY --from=busybox:latest /bin/busybox /bb
