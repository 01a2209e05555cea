//! One TLS round trip on loopback: what a question to any other process costs.

use std::time::{Duration, Instant};

use actpass_transport::server::{self, Identity, Shown};
use actpass_transport::{client, names};
use rustls_pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A connection to somebody who answers each question with as many bytes as were agreed on.
pub(crate) struct RoundTrip {
    stream: TlsStream<TcpStream>,
    question: Vec<u8>,
    answer: Vec<u8>,
}

impl RoundTrip {
    /// Connects, TLS 1.3, with both sides' sizes fixed.
    pub(crate) async fn start(question: usize, answer: usize) -> anyhow::Result<Self> {
        let identity = Identity::make(names::LEDGER)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let authority = identity.certificate()?.clone();
        let acceptor = TlsAcceptor::from(server::config(Arc::new(Shown::new(identity)?))?);
        // Ends with the connection.
        tokio::spawn(async move { serve(&listener, acceptor, question, answer).await });
        let config = client::config(&[authority], None, "http/1.1")?;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(config);
        let stream = connector
            .connect(ServerName::try_from(names::LEDGER)?, tcp)
            .await?;
        Ok(Self {
            stream,
            question: vec![b'q'; question],
            answer: vec![0; answer],
        })
    }

    /// One question and its answer.
    pub(crate) async fn once(&mut self) -> std::io::Result<Duration> {
        let begun = Instant::now();
        self.stream.write_all(&self.question).await?;
        self.stream.flush().await?;
        self.stream.read_exact(&mut self.answer).await?;
        Ok(begun.elapsed())
    }
}

async fn serve(
    listener: &TcpListener,
    acceptor: TlsAcceptor,
    question: usize,
    answer: usize,
) -> std::io::Result<()> {
    let (tcp, _) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    let mut stream = acceptor.accept(tcp).await?;
    let (mut question, answer) = (vec![0; question], vec![b'a'; answer]);
    loop {
        stream.read_exact(&mut question).await?;
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
}
