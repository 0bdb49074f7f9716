//! Testcontainers for Rust: a container with a published port that is waited for, exec, logs, a network; all
//! of it is removed when its handle is dropped. Prints the container. Run with DOCKER_HOST set.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use testcontainers::core::{CmdWaitFor, ExecCommand, IntoContainerPort as _, WaitFor};
use testcontainers::runners::SyncRunner as _;
use testcontainers::{GenericImage, ImageExt as _};

const SCRIPT: &str =
    "mkdir /www; echo page >/www/index.html; echo ready; exec httpd -f -p 80 -h /www";

fn main() -> Result<(), Box<dyn Error>> {
    let network = format!("testcontainers-rust-{}", std::process::id());
    let web = GenericImage::new("busybox", "latest")
        .with_exposed_port(80.tcp())
        .with_wait_for(WaitFor::message_on_stdout("ready"))
        .with_cmd(["sh", "-c", SCRIPT])
        .with_copy_to("/copied", b"copied".to_vec())
        .with_network(&network)
        .with_env_var("WHO", "a test")
        .start()?;

    let mut stream = TcpStream::connect((
        web.get_host()?.to_string(),
        web.get_host_port_ipv4(80.tcp())?,
    ))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.ends_with("\r\n\r\npage\n"), "{answer}");

    let done = CmdWaitFor::exit_code(0);
    let command = ExecCommand::new(["sh", "-c", "echo $WHO; cat /copied"]);
    let mut ran = web.exec(command.with_cmd_ready_condition(done))?;
    assert_eq!(ran.stdout_to_vec()?, b"a test\ncopied");
    assert_eq!(ran.exit_code()?, Some(0));
    assert_eq!(web.stdout_to_vec()?, b"ready\n");

    // Another one of the network reaches the first, and waits for its own end.
    let address = web.get_bridge_ip_address()?;
    let other = GenericImage::new("busybox", "latest")
        .with_wait_for(WaitFor::exit(
            testcontainers::core::wait::ExitWaitStrategy::new().with_exit_code(0),
        ))
        .with_cmd(["wget", "-qO-", &format!("http://{address}/")])
        .with_network(&network)
        .start()?;
    assert_eq!(other.stdout_to_vec()?, b"page\n");

    web.stop()?;
    assert!(!web.is_running()?);
    web.start()?;
    assert!(web.is_running()?);
    println!("testcontainers: ok {} {network}", web.id());
    Ok(())
}
