FROM busybox AS base
CMD ["x"]
FROM base
ENTRYPOINT ["y"]
