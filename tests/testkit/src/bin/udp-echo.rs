//! Sends every datagram back to where it came from; the port is the first argument.

fn main() -> std::io::Result<()> {
    let port = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(7_u16);
    let socket = std::net::UdpSocket::bind(("0.0.0.0", port))?;
    let mut buffer = [0; 65536];
    loop {
        let (count, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(buffer.get(..count).unwrap_or_default(), from)?;
    }
}
