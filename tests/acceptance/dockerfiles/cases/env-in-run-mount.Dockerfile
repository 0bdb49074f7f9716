FROM busybox
ENV T=/m
RUN --mount=type=tmpfs,target=$T touch $T/x
