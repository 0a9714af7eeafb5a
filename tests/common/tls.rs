//! A real server of TLS: nginx, with a certificate that openssl makes.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::server;

/// nginx with two virtual hosts on one address, and an address for those who name no host.
///
/// `shop.example` and `localhost` answer at `/shop/health?deep=1` with who was asked for; whoever names another host in
/// the handshake is refused, and whoever asks for another path gets 404.
pub struct TlsServer {
    child: Child,
    dir: tempfile::TempDir,
    /// Where a host must be named.
    pub named: SocketAddr,
    /// Where none may be.
    pub nameless: SocketAddr,
}

impl TlsServer {
    /// Starts it; none if nginx or openssl is not installed.
    pub fn start() -> Option<TlsServer> {
        if !server("nginx") || !server("openssl") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        certify(dir.path());
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (named, nameless) = (free(), free());
        let here = dir.path().display();
        let config = format!(
            "daemon off; master_process off; error_log {here}/error.log; pid {here}/pid; events {{ }}
            http {{
                access_log off; ssl_certificate {here}/server.pem; ssl_certificate_key {here}/server.key;
                client_body_temp_path {here}/a; proxy_temp_path {here}/b; fastcgi_temp_path {here}/c;
                uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;
                server {{ listen {named} ssl default_server; ssl_reject_handshake on; }}
                server {{
                    listen {named} ssl; server_name shop.example localhost;
                    location = /shop/health {{ return 200 \"$ssl_server_name $http_host $request_uri\"; }}
                    location / {{ return 404; }}
                }}
                server {{
                    listen {nameless} ssl;
                    if ($ssl_server_name) {{ return 421; }}
                    location / {{ return 200 \"nobody $http_host $request_uri\"; }}
                }}
            }}"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let child = Command::new(nginx.unwrap_or("nginx"))
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for address in [named, nameless] {
            while TcpStream::connect(address).is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Some(TlsServer { child, dir, named, nameless })
    }

    /// The authority that has signed its certificate, in PEM.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("authority.pem")
    }

    /// An authority that has not.
    pub fn stranger(&self) -> PathBuf {
        self.dir.path().join("stranger.pem")
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two authorities, and a certificate by one of them.
fn certify(dir: &Path) {
    let openssl = |name: &str, more: &[&str]| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"])
            .args(["-subj", &format!("/CN={name}"), "-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
            .args(more)
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    openssl("authority", &[]);
    openssl("stranger", &[]);
    let names = "subjectAltName=DNS:shop.example,DNS:localhost,IP:192.0.2.1,IP:2001:db8::1";
    let signed = ["-CA", "authority.pem", "-CAkey", "authority.key"];
    openssl("server", &[&signed[..], &["-addext", names, "-addext", "basicConstraints=critical,CA:FALSE"]].concat());
}
