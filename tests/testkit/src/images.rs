//! Tiny images, made from the host's packages without a registry.

use std::path::PathBuf;
use std::process::Command;

use crate::engine::Engine;
use crate::tools::{repository, run};

/// The root file system of an image as a tar archive, made by `scripts/make-images` once.
pub fn rootfs(name: &str) -> PathBuf {
    let directory = match std::env::var_os("ARCA_IMAGES") {
        Some(directory) => PathBuf::from(directory),
        None => repository().join(".arca/images"),
    };
    let path = directory.join(format!("{name}.tar"));
    if !path.exists() {
        run(Command::new(repository().join("scripts/make-images"))
            .arg(name)
            .env("ARCA_IMAGES", directory));
    }
    path
}

impl Engine {
    /// Makes sure that the engine has `busybox:latest`.
    pub(crate) fn need_busybox(&self) {
        self.import(
            "busybox",
            &[
                "CMD [\"sh\"]",
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ],
        );
    }

    /// Makes sure that the engine has an nginx as `nginx:latest`, made from Debian's packages.
    pub fn need_nginx(&self) {
        self.import(
            "nginx",
            &[
                "CMD [\"nginx\", \"-g\", \"daemon off;\"]",
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "EXPOSE 80",
                "STOPSIGNAL SIGQUIT",
            ],
        );
    }

    /// Makes sure that the engine has a redis as `redis:latest`, made from Debian's packages.
    pub fn need_redis(&self) {
        self.import(
            "redis",
            &[
                "CMD [\"redis-server\", \"--protected-mode\", \"no\", \"--dir\", \"/data\"]",
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "EXPOSE 6379",
                "WORKDIR /data",
            ],
        );
    }

    /// Makes sure that the engine has `prom/prometheus:latest` and `prom/node-exporter:latest`, made from
    /// Debian's packages.
    pub fn need_prometheus(&self) {
        let path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let data = "VOLUME /prometheus";
        self.import_as("prom/prometheus", "prometheus", &[path, data]);
        self.import_as("prom/node-exporter", "node-exporter", &[path]);
    }

    /// Makes sure that the engine has `mariadb:latest`, made from Debian's packages.
    pub fn need_mariadb(&self) {
        self.import(
            "mariadb",
            &[
                "ENTRYPOINT [\"docker-entrypoint.sh\"]",
                "CMD [\"mariadbd\", \"--user=mysql\"]",
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "EXPOSE 3306",
                "VOLUME /var/lib/mysql",
            ],
        );
    }

    /// Makes sure that the engine has `wordpress:latest`, made from Debian's packages.
    pub fn need_wordpress(&self) {
        self.import(
            "wordpress",
            &[
                "ENTRYPOINT [\"docker-entrypoint.sh\"]",
                "CMD [\"apache2\", \"-DFOREGROUND\"]",
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "EXPOSE 80",
                "STOPSIGNAL SIGWINCH",
                "VOLUME /var/www/html",
                "WORKDIR /var/www/html",
            ],
        );
    }

    fn import(&self, name: &str, changes: &[&str]) {
        self.import_as(name, name, changes);
    }

    /// Imports the archive `archive` as `name:latest`.
    fn import_as(&self, name: &str, archive: &str, changes: &[&str]) {
        if self.http().get(&format!("/images/{name}:latest/json")).0 == 200 {
            return;
        }
        let tar = std::fs::read(rootfs(archive)).unwrap();
        let mut path = format!("/v1.51/images/create?fromSrc=-&repo={name}&tag=latest");
        for change in changes {
            path.push_str("&changes=");
            path.push_str(&percent(change));
        }
        let mut response = self.http().send(
            "POST",
            &path,
            &[("Content-Type", "application/x-tar")],
            &tar,
        );
        let body = String::from_utf8_lossy(&response.bytes()).into_owned();
        assert!(
            response.status == 200 && !body.contains("errorDetail"),
            "import of {name}: {} {body}",
            response.status
        );
    }
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
