FROM busybox
RUN echo $LATE
ARG LATE=1
RUN echo $LATE
