FROM busybox
RUN --mount=type=secret,id=nosuch,required true
