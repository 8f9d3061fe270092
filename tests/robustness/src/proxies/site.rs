//! A server and a proxy before it.

use std::{
    error::Error,
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use quartet::post::v1::{ListPostsByUserIdRequest, post_service_client::PostServiceClient};
use quartet_channel::{Channel, TlsSettings};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::kind::Kind;
use crate::process::{Process, free_address};

/// The addresses that the configurations of `docs/proxies` have.
const FRONT: &str = "127.0.0.1:8080";
const BACK: &str = "127.0.0.1:9001";

/// How long a proxy may take to listen.
const START: Duration = Duration::from_secs(30);

/// Where the programs and the configurations are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The program `server`.
    pub server: PathBuf,
    /// The folder of the programs that are not on the `PATH`.
    pub programs: PathBuf,
    /// The folder of the configurations.
    pub configurations: PathBuf,
}

/// A server and a proxy before it. Both end when it is dropped.
pub(super) struct Site {
    pub(super) home: TempDir,
    places: Places,
    server: Option<Process>,
    back: SocketAddr,
    metrics: SocketAddr,
    front: SocketAddr,
    encrypted: bool,
    _proxy: ProxyProcess,
}

impl Site {
    /// Starts a server and this proxy, with or without TLS on both connections.
    pub(super) async fn open(
        kind: Kind,
        places: &Places,
        encrypted: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let home = TempDir::new()?;
        let (back, metrics, front) = (free_address()?, free_address()?, free_address()?);
        let configurations = places.configurations.join(if encrypted { "tls" } else { "" });
        for file in kind.files() {
            let text = fs::read_to_string(configurations.join(file))?;
            fs::write(home.path().join(file), with_ports(&text, front, back))?;
        }
        if encrypted {
            make_certificates(places, home.path()).await?;
        }
        let proxy = ProxyProcess::spawn(kind, places, home.path())?;
        let mut site = Self {
            home,
            places: places.clone(),
            server: None,
            back,
            metrics,
            front,
            encrypted,
            _proxy: proxy,
        };
        site.start_server(&[]).await?;
        site.until_proxied().await?;
        Ok(site)
    }

    /// A channel through the proxy.
    pub(super) fn channel(&self) -> Channel {
        self.connect()()
    }

    /// Opens channels through the proxy.
    pub(super) fn connect(&self) -> Arc<dyn Fn() -> Channel> {
        let scheme = if self.encrypted { "https" } else { "http" };
        let target = format!("{scheme}://{}", self.front).parse().expect("invariant: it is a URL");
        let ca = self.encrypted.then(|| self.home.path().join("certs/ca.pem"));
        let builder = Channel::builder(target).tls(&TlsSettings { ca, ..TlsSettings::default() });
        let builder = builder.expect("invariant: the server reads the same certificate");
        Arc::new(move || builder.clone().build())
    }

    /// Starts the server with these flags, at the same address and on the same log as before.
    pub(super) async fn start_server(&mut self, flags: &[&str]) -> Result<(), Box<dyn Error>> {
        let mut server = Command::new(&self.places.server);
        server.arg("--no-seed").arg("--listen").arg(self.back.to_string());
        server.arg("--metrics").arg(self.metrics.to_string());
        server.arg("--data").arg(self.home.path().join("data")).env("RUST_LOG", "warn");
        server.args(flags);
        if self.encrypted {
            server.current_dir(self.home.path());
            server.args(["--tls-cert", "certs/server.pem", "--tls-key", "certs/server.key"]);
        }
        let mut process = Process::spawn(&mut server, &self.home.path().join("server.log"))?;
        process.serving().await?;
        self.server = Some(process);
        Ok(())
    }

    /// Ends the server, as an operator does.
    pub(super) async fn stop_server(&mut self) -> Result<(), Box<dyn Error>> {
        self.server.take().ok_or("invariant: the server runs")?.stop().await
    }

    /// Ends the server, as the machine does.
    pub(super) async fn kill_server(&mut self) -> Result<(), Box<dyn Error>> {
        self.server.take().ok_or("invariant: the server runs")?.kill().await?;
        Ok(())
    }

    /// The streams that are open at the server.
    pub(super) async fn open_streams(&self) -> Result<u64, Box<dyn Error>> {
        let mut connection = TcpStream::connect(self.metrics).await?;
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        connection.write_all(request).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        let streams = answer.lines().find_map(|line| line.strip_prefix("quartet_streams "));
        Ok(streams.ok_or("the metrics have no quartet_streams")?.trim().parse()?)
    }

    /// Waits until a call passes. Traefik listens before it has read its routes, and says 404.
    async fn until_proxied(&self) -> Result<(), Box<dyn Error>> {
        let request = ListPostsByUserIdRequest { user_id: "1".to_owned(), resume_after: None };
        let passing = async {
            let mut client = PostServiceClient::new(self.channel());
            while client.list_posts_by_user_id(request.clone()).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(START, passing).await.is_err() {
            let log = fs::read_to_string(self.home.path().join("proxy.log")).unwrap_or_default();
            let last = log.lines().next_back().unwrap_or("no output");
            return Err(format!("no call passes: {last}").into());
        }
        Ok(())
    }
}

/// Makes `certs/`, and the file of certificate and key that HAProxy reads.
async fn make_certificates(places: &Places, home: &Path) -> Result<(), Box<dyn Error>> {
    let mut server = Command::new(&places.server);
    let made = server.arg("certs").arg("certs").current_dir(home).output().await?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into());
    }
    let [certificate, key] =
        ["certs/server.pem", "certs/server.key"].map(|file| fs::read(home.join(file)));
    fs::write(home.join("both.pem"), [certificate?, key?].concat())?;
    Ok(())
}

/// A configuration with other addresses.
fn with_ports(text: &str, front: SocketAddr, back: SocketAddr) -> String {
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    let mut text = text.replace(FRONT, &front.to_string()).replace(BACK, &back.to_string());
    // nghttpx writes `127.0.0.1,8080`, Envoy `port_value: 8080`, Apache the name.
    for (address, now) in [(FRONT, front), (BACK, back)] {
        for before in ["127.0.0.1,", "port_value: ", "localhost:"] {
            let (port, now) = (port(address), now.port());
            text = text.replace(&format!("{before}{port}"), &format!("{before}{now}"));
        }
    }
    text
}

/// A proxy, with all processes that it starts. They are killed when it is dropped.
struct ProxyProcess(Child);

impl ProxyProcess {
    fn spawn(kind: Kind, places: &Places, home: &Path) -> Result<Self, Box<dyn Error>> {
        let local = places.programs.join(kind.program());
        let program = if local.is_file() { local } else { kind.program().into() };
        let log = File::create(home.join("proxy.log"))?;
        let mut command = std::process::Command::new(&program);
        command.args(kind.arguments()).current_dir(home).env("HOME", home).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = Command::from(command).kill_on_drop(true).spawn();
        let child = child.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        Ok(Self(child))
    }
}

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        if let Some(group) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It fails harmlessly if the proxy has ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
