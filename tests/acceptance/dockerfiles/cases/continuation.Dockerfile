FROM busybox
RUN echo a && \
  # a comment

  echo b \
  && echo c
ENV X=1 \
    Y=2
