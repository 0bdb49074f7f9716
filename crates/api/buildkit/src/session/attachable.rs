//! What a build asks of a client, as calls of the client's services.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use arca_build::graph::LocalDiffer;
use arca_build::session::{FileSink, LocalRequest, Secret, Upload};
use arca_build::{BuildSession, Error};
use arca_images::{Auth, Secret as Password};
use arca_types::{Digest, Timestamp};
use async_trait::async_trait;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
use bollard_buildkit_proto::moby::filesync::v1::CredentialsRequest;
use bollard_buildkit_proto::moby::filesync::v1::auth_client::AuthClient;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest};
use bollard_buildkit_proto::moby::upload::v1 as upload;
use bollard_buildkit_proto::moby::upload::v1::upload_client::UploadClient;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::{Code, Request, Status};

use super::Session;
use crate::filesync;

/// Bytes of an agent's connection that travel at once.
const CHUNK: usize = 32 << 10;
/// Docker Hub's name in credential stores is this one.
const HUB: &str = "https://index.docker.io/v1/";

#[async_trait]
impl BuildSession for Session {
    async fn local(&self, request: &LocalRequest, destination: &Path) -> Result<(), Error> {
        if !self.serves("/moby.filesync.v1.FileSync/DiffCopy") {
            return Err(Error::NotFound(format!(
                "no local sources enabled: {:?}",
                request.name
            )));
        }
        let mut metadata = MetadataMap::new();
        set(&mut metadata, "dir-name", &[request.name.as_str()])?;
        set(&mut metadata, "include-patterns", &strs(&request.include))?;
        set(&mut metadata, "exclude-patterns", &strs(&request.exclude))?;
        set(&mut metadata, "followpaths", &strs(&request.follow_paths))?;
        let compare = request.differ == LocalDiffer::Metadata;
        let received = filesync::receive(self.channel.clone(), metadata, destination, compare);
        tokio::select! {
            received = received => received,
            () = self.closed.cancelled() => Err(Error::Cancelled),
        }
    }

    async fn secret(&self, id: &str) -> Result<Option<Secret>, Error> {
        if !self.serves("/moby.buildkit.secrets.v1.Secrets/GetSecret") {
            return Ok(None);
        }
        let mut client = SecretsClient::new(self.channel.clone());
        let request = GetSecretRequest {
            id: id.to_owned(),
            ..GetSecretRequest::default()
        };
        let answer = self.ask("secret", async {
            match client.get_secret(request).await {
                Ok(found) => Ok(Some(found.into_inner().data)),
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(status),
            }
        });
        Ok(answer.await?.map(Secret::new))
    }

    async fn has_ssh(&self, id: &str) -> Result<bool, Error> {
        if !self.serves("/moby.sshforward.v1.SSH/CheckAgent") {
            return Ok(false);
        }
        let mut client = SshClient::new(self.channel.clone());
        let request = CheckAgentRequest { id: id.to_owned() };
        self.ask("ssh agent", async {
            match client.check_agent(request).await {
                Ok(_) => Ok(true),
                // Clients answer with a bare error for an agent that they do not have.
                Err(status) if matches!(status.code(), Code::NotFound | Code::Unknown) => Ok(false),
                Err(status) => Err(status),
            }
        })
        .await
    }

    async fn ssh(&self, id: &str, connection: UnixStream) -> Result<(), Error> {
        let (mut reader, mut writer) = connection.into_split();
        let outgoing = async_stream(async move |sender| {
            let mut buffer = vec![0; CHUNK];
            while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                let data = buffer.get(..length).unwrap_or_default().to_vec();
                if sender.send(BytesMessage { data }).await.is_err() {
                    return;
                }
            }
        });
        let mut request = Request::new(outgoing);
        let id = if id.is_empty() { "default" } else { id };
        set(request.metadata_mut(), "buildkit.ssh.id", &[id])?;
        let mut client = SshClient::new(self.channel.clone());
        let call = client.forward_agent(request);
        let mut incoming = self.ask("ssh agent", call).await?.into_inner();
        while let Some(message) = self.ask("ssh agent", incoming.message()).await? {
            if writer.write_all(&message.data).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn registry_auth(&self, domain: &str) -> Result<Auth, Error> {
        if !self.serves("/moby.filesync.v1.Auth/Credentials") {
            return Ok(Auth::Anonymous);
        }
        let host = match domain {
            "docker.io" | "registry-1.docker.io" => HUB,
            other => other,
        };
        let mut client = AuthClient::new(self.channel.clone());
        let request = CredentialsRequest {
            host: host.to_owned(),
        };
        let found = self.ask("credentials", client.credentials(request)).await?;
        let found = found.into_inner();
        Ok(match (found.username, found.secret) {
            (_, secret) if secret.is_empty() => Auth::Anonymous,
            (username, secret) if username.is_empty() => Auth::Identity(Password::new(secret)),
            (username, secret) => Auth::Password {
                username,
                password: Password::new(secret),
            },
        })
    }

    async fn export_file(
        &self,
        exporter: usize,
        metadata: BTreeMap<String, String>,
    ) -> Result<Box<dyn FileSink>, Error> {
        self.open_file(exporter, &metadata).await
    }

    async fn export_tree(
        &self,
        exporter: usize,
        root: OwnedFd,
        time: Option<Timestamp>,
    ) -> Result<(), Error> {
        self.send_tree(exporter, root, time).await
    }

    async fn upload(&self, path: &str) -> Result<Upload, Error> {
        if !self.serves("/moby.upload.v1.Upload/Pull") {
            return Err(Error::NotFound(format!("no upload of the client: {path}")));
        }
        // The client reads nothing, but the stream to it has to stay open.
        let (open, outgoing) = tokio::sync::mpsc::channel::<upload::BytesMessage>(1);
        let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(outgoing));
        set(request.metadata_mut(), "urlpath", &[path])?;
        set(request.metadata_mut(), "urlhost", &["buildkit-session"])?;
        let mut client = UploadClient::new(self.channel.clone());
        let incoming = self.ask("upload", client.pull(request)).await?.into_inner();
        let closed = self.closed.clone();
        let pieces = stream::try_unfold((incoming, open), move |(mut incoming, open)| {
            let closed = closed.clone();
            async move {
                let message = tokio::select! {
                    message = incoming.message() => message,
                    () = closed.cancelled() => Err(Status::cancelled("the client has gone")),
                };
                let message = message.map_err(|status| crate::error::of_client("upload", &status));
                let piece = |message: upload::BytesMessage| Bytes::from(message.data);
                Ok(message?.map(|message| (piece(message), (incoming, open))))
            }
        });
        Ok(pieces.boxed())
    }

    async fn content(&self, store: &str, digest: &Digest) -> Result<Upload, Error> {
        self.read_content(store, digest).await
    }

    async fn put_content(
        &self,
        store: &str,
        blob: (&Digest, u64),
        content: Upload,
    ) -> Result<(), Error> {
        self.write_content(store, blob, content).await
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn shared_key(&self) -> String {
        self.shared_key.clone()
    }
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// A stream of what a task sends; the task ends with it.
pub(super) fn async_stream<T, F>(
    work: impl FnOnce(tokio::sync::mpsc::Sender<T>) -> F,
) -> tokio_stream::wrappers::ReceiverStream<T>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    tokio::spawn(work(sender));
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

/// Adds values as metadata of a call. What is not plain ASCII is written as in a query, and said to be.
pub(super) fn set(metadata: &mut MetadataMap, key: &str, values: &[&str]) -> Result<(), Error> {
    let plain = values
        .iter()
        .all(|value| value.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    let invalid = |_: &dyn std::error::Error| {
        Error::Invalid(format!("{key} is too strange to be sent: {values:?}"))
    };
    let name: AsciiMetadataKey = key.parse().map_err(|e| invalid(&e))?;
    for value in values {
        let value = if plain {
            (*value).to_owned()
        } else {
            query(value)
        };
        let value: AsciiMetadataValue = value.parse().map_err(|e| invalid(&e))?;
        metadata.append(name.clone(), value);
    }
    if !plain {
        let name = format!("{key}-encoded").parse::<AsciiMetadataKey>();
        let name = name.map_err(|e| invalid(&e))?;
        metadata.append(name, AsciiMetadataValue::from_static("1"));
    }
    Ok(())
}

/// Go's `url.QueryEscape`.
fn query(text: &str) -> String {
    let mut written = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                written.push(char::from(byte));
            }
            b' ' => written.push('+'),
            byte => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_plain_where_it_can_be() {
        let mut metadata = MetadataMap::new();
        set(&mut metadata, "dir-name", &["context"]).unwrap();
        assert_eq!(metadata.get("dir-name").unwrap(), "context");
        assert!(metadata.get("dir-name-encoded").is_none());
        set(&mut metadata, "include-patterns", &["a b", "grün"]).unwrap();
        let all: Vec<_> = metadata.get_all("include-patterns").iter().collect();
        assert_eq!(all, ["a+b", "gr%C3%BCn"]);
        assert_eq!(metadata.get("include-patterns-encoded").unwrap(), "1");
    }
}
