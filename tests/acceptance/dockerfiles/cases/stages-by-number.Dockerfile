FROM busybox
RUN echo out > /out
FROM scratch
COPY --from=0 /out /in
