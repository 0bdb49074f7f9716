FROM busybox
RUN echo a > /a
RUN ["touch", "/b"]
