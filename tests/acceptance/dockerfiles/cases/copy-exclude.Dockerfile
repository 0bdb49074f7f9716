FROM busybox
COPY --exclude=*.md --exclude=sub dir /d/
