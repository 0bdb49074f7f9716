FROM busybox AS build
RUN echo out > /out
FROM busybox
COPY --from=build /out /in
