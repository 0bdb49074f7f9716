FROM busybox AS s
RUN echo s > /s
FROM busybox
RUN --mount=from=s,source=/s,target=/m cat /m > /out
