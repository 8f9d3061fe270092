//! The feed's load for NATS core: its text protocol, as little of it as it takes.

use std::{str::from_utf8, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{
    feed::{Arrivals, Order, Pace, finish, message},
    options::Options,
};
use crate::{
    error::Result,
    posts,
    usage::{Figures, Meter},
};

const READ: usize = 256 * 1024;
/// Messages in one write, as the gRPC publisher has outstanding.
const BURST: u64 = 64;

pub(super) async fn nats(options: &Options) -> Result<Figures> {
    let arrivals = Arc::new(Arrivals::new()?);
    let per_connection = options.subscribers / options.connections;
    let mut subscribers = JoinSet::new();
    for _ in 0..options.connections {
        let mut connection = Connection::open(&options.address).await?;
        connection.subscribe(per_connection).await?;
        subscribers.spawn(read(connection, per_connection, arrivals.clone()));
    }
    let mut publisher = Connection::open(&options.address).await?;

    let meter = Meter::start(options.pid)?;
    publish(&mut publisher, options, &arrivals).await?;
    let mut received = 0;
    while let Some(subscriber) = subscribers.join_next().await {
        received += subscriber??;
    }
    finish(meter, options, received, &arrivals)
}

struct Connection {
    stream: TcpStream,
    /// What was received; what was used of it ends at `used`.
    buf: Vec<u8>,
    used: usize,
}

impl Connection {
    async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, buf: Vec::new(), used: 0 };
        let hello = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\"}\r\n";
        connection.stream.write_all(hello).await?;
        connection.synchronize().await?;
        Ok(connection)
    }

    async fn subscribe(&mut self, count: u64) -> Result<()> {
        for sid in 0..count {
            self.stream.write_all(format!("SUB bench {sid}\r\n").as_bytes()).await?;
        }
        self.synchronize().await
    }

    /// Returns once the server has done what was asked before.
    async fn synchronize(&mut self) -> Result<()> {
        self.stream.write_all(b"PING\r\n").await?;
        loop {
            while let Some(line) = self.line()? {
                if line.0 == "PONG" {
                    return Ok(());
                }
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<()> {
        self.buf.drain(..self.used);
        self.used = 0;
        self.buf.reserve(READ);
        if self.stream.read_buf(&mut self.buf).await? == 0 {
            return Err("NATS closed the connection".into());
        }
        Ok(())
    }

    /// The next line that is complete with its payload.
    fn line(&mut self) -> Result<Option<(&str, &[u8])>> {
        let rest = &self.buf[self.used..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\r') else { return Ok(None) };
        let line = from_utf8(&rest[..end])?;
        let mut len = end + 2;
        if line.starts_with("MSG ") {
            let payload = line.rsplit(' ').next().unwrap_or_default().parse::<usize>()?;
            len += payload + 2;
        } else if line.starts_with("-ERR") {
            return Err(format!("NATS says {line}").into());
        }
        if rest.len() < len {
            return Ok(None);
        }
        self.used += len;
        Ok(Some((line, rest.get(end + 2..len.saturating_sub(2)).unwrap_or_default())))
    }
}

/// Reads for all subscriptions of a connection.
async fn read(mut connection: Connection, count: u64, arrivals: Arc<Arrivals>) -> Result<u64> {
    let mut orders: Vec<Order> = (0..count).map(|_| Order::default()).collect();
    let mut open = count;
    while open > 0 {
        connection.receive().await?;
        let now = arrivals.now();
        while let Some((line, payload)) = connection.line()? {
            let Some(subject) = line.strip_prefix("MSG bench ") else { continue };
            let sid: usize = subject.split(' ').next().unwrap_or_default().parse()?;
            let order = orders.get_mut(sid).ok_or("a message for nobody")?;
            order.post(payload, now, &arrivals)?;
            open -= u64::from(order.ended);
        }
    }
    Ok(orders.iter().map(|order| order.received).sum())
}

async fn publish(
    connection: &mut Connection,
    options: &Options,
    arrivals: &Arrivals,
) -> Result<()> {
    let mut pace = Pace::new(options);
    let mut chunk = Vec::new();
    while pace.sent < pace.total {
        for index in pace.due(BURST) {
            let mut post = message(index, pace.total, arrivals);
            // A gRPC server adds these.
            post.author = posts::author(&post.user_id);
            post.create_time = Some(posts::create_time());
            post.sequence = index as i64;
            let payload = prost::Message::encode_to_vec(&post);
            chunk.extend_from_slice(format!("PUB bench {}\r\n", payload.len()).as_bytes());
            chunk.extend_from_slice(&payload);
            chunk.extend_from_slice(b"\r\n");
        }
        connection.stream.write_all(&chunk).await?;
        chunk.clear();
        pace.next().await;
    }
    connection.synchronize().await
}
