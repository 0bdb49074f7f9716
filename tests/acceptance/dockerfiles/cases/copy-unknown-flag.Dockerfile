FROM busybox
COPY --form=a a b
