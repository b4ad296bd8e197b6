//! An OCSP responder: OpenSSL's answers over HTTP on loopback.

use super::edge::{Dir, output_of};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
};

const SERIAL: [u8; 4] = [0x12, 0x34, 0xab, 0xcd];

/// What the responder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The certificate is good.
    Good,
    /// It is revoked.
    Revoked,
    /// That it is good, signed by somebody else.
    Forged,
    /// An error instead of an answer.
    Nothing,
}

/// A CA, a leaf that names the responder, and the responder.
pub struct Responder {
    /// Chain and key of the leaf, in PEM.
    pub chain: String,
    /// See `chain`.
    pub key: String,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
}

impl Responder {
    /// Starts it with a leaf for `name`; its files are in `dir`.
    pub async fn start(dir: &Dir, name: &str, says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/ocsp", listener.local_addr().unwrap());
        let ca = authority(dir, "ca");
        authority(dir, "forger");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(SERIAL.to_vec()));
        params.custom_extensions = vec![access(&url)];
        let leaf = params.signed_by(&key, &ca).unwrap().pem();
        let chain = leaf + &std::fs::read_to_string(dir.path("ca.pem")).unwrap();
        let index = |status: &str| format!("{status}\t\t1234ABCD\tunknown\t/CN=x\n");
        dir.write("good.txt", &index("V\t491231235959Z"));
        dir.write("revoked.txt", &index("R\t491231235959Z\t260101000000Z").replace("\t\t", "\t"));
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::<AtomicUsize>::default());
        tokio::spawn(serve(listener, dir.clone(), Arc::clone(&says), Arc::clone(&asked)));
        Self { chain, key: key.serialize_pem(), says, asked }
    }

    /// What it says from now on.
    pub fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

fn authority(dir: &Dir, stem: &str) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "OCSP test root");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    dir.write(&format!("{stem}.pem"), &params.self_signed(&key).unwrap().pem());
    dir.write_secret(&format!("{stem}.key"), &key.serialize_pem());
    Issuer::new(params, key)
}

/// Authority Information Access with one OCSP responder, in DER.
fn access(url: &str) -> CustomExtension {
    let kind = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    let place = [&[0x86, url.len() as u8], url.as_bytes()].concat();
    let description = sequence(&[&kind[..], &place].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], sequence(&description))
}

fn sequence(content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128, "a short form length");
    [&[0x30, content.len() as u8], content].concat()
}

async fn serve(listener: TcpListener, dir: Dir, says: Arc<Mutex<Says>>, asked: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut bytes = Vec::new();
        let request = loop {
            let mut chunk = [0; 1024];
            let read = stream.read(&mut chunk).await.unwrap_or(0);
            bytes.extend_from_slice(&chunk[..read]);
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            let length = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            let length = length
                .split_once("content-length: ")
                .and_then(|(_, rest)| rest.split("\r\n").next()?.parse::<usize>().ok());
            if let (Some(head), Some(length)) = (head, length)
                && bytes.len() >= head + 4 + length
            {
                break bytes[head + 4..].to_vec();
            }
            assert!(read > 0, "a whole request");
        };
        let number = asked.fetch_add(1, SeqCst);
        let says = *says.lock().unwrap();
        let answer = match says {
            Says::Nothing => None,
            says => Some(answer(&dir, number, &request, says).await),
        };
        let head = match &answer {
            Some(answer) => format!("200 OK\r\nContent-Length: {}", answer.len()),
            None => "500 Oh\r\nContent-Length: 0".to_owned(),
        };
        let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(&[head.into_bytes(), answer.unwrap_or_default()].concat()).await;
    }
}

async fn answer(dir: &Dir, number: usize, request: &[u8], says: Says) -> Vec<u8> {
    let asked = dir.write_bytes(&format!("{number}.req"), request);
    let answered = dir.path(&format!("{number}.resp"));
    let signer = if says == Says::Forged { "forger" } else { "ca" };
    let index = if says == Says::Revoked { "revoked.txt" } else { "good.txt" };
    let mut command = Command::new("openssl");
    let mut file = |flag: &str, path: &Path| {
        command.arg(flag).arg(path);
    };
    file("ocsp", Path::new("-noverify"));
    file("-index", &dir.path(index));
    file("-CA", &dir.path("ca.pem"));
    file("-rsigner", &dir.path(&format!("{signer}.pem")));
    file("-rkey", &dir.path(&format!("{signer}.key")));
    file("-reqin", &asked);
    file("-respout", &answered);
    command.args(["-ndays", "2"]);
    let output = output_of(command).await;
    std::fs::read(answered).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}
