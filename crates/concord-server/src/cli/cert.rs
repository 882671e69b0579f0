//! `concord cert`: an authority of one's own, and certificates for nodes and clients.
//!
//! Works on files only. What certificates have to say for a node to be taken for one is in
//! `concord_net::tls`; how to use them is in `docs/tls.md`.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use concord_net::tls::{
    CLUSTER_URI, CertificateFacts, NODE_URI, TlsError, check_issued, check_key, read_certificates,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use zeroize::Zeroizing;

use super::args::{CaArgs, CertCommand, CertOutArgs, ClientCertArgs, NodeCertArgs, Output, SignerArgs};
use super::error::CliError;
use super::output::Out;

/// Clocks differ: what is made now holds at once on a machine that is a little behind.
const BACKDATE: Duration = Duration::from_mins(5);

/// `concord cert ...`
pub(super) fn run(command: &CertCommand) -> Result<(), CliError> {
    let mut out = Out::new(Output::Table);
    match command {
        CertCommand::Ca(args) => ca(args, &mut out)?,
        CertCommand::Node(args) => node(args, &mut out)?,
        CertCommand::Client(args) => client(args, &mut out)?,
        CertCommand::Show { file } => show(file, &mut out)?,
    }
    out.flush()
}

fn ca(args: &CaArgs, out: &mut Out) -> Result<(), CliError> {
    let files = Files::claim(&args.out, "ca")?;
    let mut params = params(args.days)?;
    params.distinguished_name.push(DnType::CommonName, &args.name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(cannot_make)?;
    let certificate = params.self_signed(&key).map_err(cannot_make)?;
    files.write(&certificate.pem(), &key)?;
    files.tell(out, "the authority")?;
    out.line(
        "\nKeep the key off the nodes: whoever has it can make nodes and clients. Next, one for each node:",
    )?;
    let directory = args.out.out.display();
    out.line(format!(
        "  concord cert node --out {directory} --node-id 1 --host NAME --ip ADDRESS"
    ))
}

fn node(args: &NodeCertArgs, out: &mut Out) -> Result<(), CliError> {
    let signer = Signer::load(&args.signer, &args.out)?;
    let files = Files::claim(&args.out, &format!("node-{}", args.node_id))?;
    let mut params = params(args.days)?;
    params
        .distinguished_name
        .push(DnType::CommonName, format!("node {}", args.node_id));
    let named = |kind: SanType| Ok::<_, CliError>(kind);
    for host in &args.host {
        let name = host.as_str().try_into();
        let name = name.map_err(|_| CliError::Usage(format!("`{host}` is no host name")))?;
        params.subject_alt_names.push(named(SanType::DnsName(name))?);
    }
    params
        .subject_alt_names
        .extend(args.ip.iter().copied().map(SanType::IpAddress));
    let mut uris = vec![format!("{NODE_URI}{}", args.node_id)];
    uris.extend(args.cluster.map(|id| format!("{CLUSTER_URI}{id:032x}")));
    for uri in uris {
        let uri = uri.as_str().try_into().map_err(cannot_make)?;
        params.subject_alt_names.push(SanType::URI(uri));
    }
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    signer.sign(params, &files)?;
    files.tell(out, &format!("node {}", args.node_id))?;
    out.line("\nIn the configuration of the node, for its peers:")?;
    out.line(format!(
        "  [peers.tls]\n{}\n  ca = \"{}\"",
        files.settings(),
        signer.ca.display()
    ))?;
    if args.host.is_empty() && args.ip.is_empty() {
        return out.line("It names no host, so clients cannot use it: give --host or --ip for that.");
    }
    out.line("and for its clients:")?;
    out.line(format!("  [http.tls]\n{}", files.settings()))?;
    out.line(format!(
        "who trust the authority: concord --ca-cert {} ...",
        signer.ca.display()
    ))
}

fn client(args: &ClientCertArgs, out: &mut Out) -> Result<(), CliError> {
    let signer = Signer::load(&args.signer, &args.out)?;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-._".contains(c) {
            c
        } else {
            '_'
        }
    };
    let file: String = args.name.chars().map(plain).collect();
    let files = Files::claim(&args.out, &format!("client-{file}"))?;
    let mut params = params(args.days)?;
    params.distinguished_name.push(DnType::CommonName, &args.name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    signer.sign(params, &files)?;
    files.tell(out, &format!("client `{}`", args.name))?;
    out.line("\nA node that asks for certificates (`http.tls.client_ca`) lets it in:")?;
    out.line(format!(
        "  concord --endpoints https://HOST:4000 --ca-cert {} --client-cert {} --client-key {} status",
        signer.ca.display(),
        files.certificate.display(),
        files.key.display()
    ))
}

fn show(file: &Path, out: &mut Out) -> Result<(), CliError> {
    for facts in read_certificates(file).map_err(unusable)? {
        let CertificateFacts {
            common_name,
            node_id,
            cluster_id,
            not_before,
            not_after,
            ..
        } = &facts;
        let mut shown = vec![("name", common_name.clone().unwrap_or_default())];
        shown.extend(node_id.map(|id| ("node", id.to_string())));
        shown.extend(cluster_id.map(|id| ("cluster", format!("{id:032x}"))));
        shown.push(("valid from", date(*not_before)));
        shown.push(("valid until", date(*not_after)));
        shown.push(("days left", facts.days_left(SystemTime::now()).to_string()));
        out.facts(shown)?;
    }
    Ok(())
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// What all certificates have in common.
fn params(days: u32) -> Result<CertificateParams, CliError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(cannot_make)?;
    params.distinguished_name = DistinguishedName::new();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| CliError::Usage("the clock of this machine is before 1970".to_owned()))?;
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + now + Duration::from_hours(24) * days;
    Ok(params)
}

fn cannot_make(error: rcgen::Error) -> CliError {
    CliError::Usage(format!("cannot make the certificate: {error}"))
}

fn unusable(error: TlsError) -> CliError {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    CliError::Usage(format!("{error}{}", cause.unwrap_or_default()))
}

/// An authority that signs.
struct Signer {
    issuer: Issuer<'static, KeyPair>,
    ca: PathBuf,
}

impl Signer {
    fn load(args: &SignerArgs, out: &CertOutArgs) -> Result<Self, CliError> {
        let ca = absolute(args.ca.clone().unwrap_or_else(|| out.out.join("ca.pem")));
        let key = args.ca_key.clone().unwrap_or_else(|| out.out.join("ca-key.pem"));
        if !ca.exists() {
            let reason = format!(
                "there is no authority at {}: make one with `concord cert ca`",
                ca.display()
            );
            return Err(CliError::Usage(reason));
        }
        check_key(&ca, &key).map_err(unusable)?;
        let facts = read_certificates(&ca).map_err(unusable)?;
        let name = facts.into_iter().next().and_then(|facts| facts.common_name);
        let text = fs::read_to_string(&key)
            .map_err(|e| CliError::io(format!("cannot read {}", key.display()), e))?;
        let key = KeyPair::from_pem(&Zeroizing::new(text)).map_err(cannot_make)?;
        // As `ca` makes them. Whether that is what this one is like shows when its signature is checked.
        let mut params = params(1)?;
        params
            .distinguished_name
            .push(DnType::CommonName, name.unwrap_or_default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self {
            issuer: Issuer::new(params, key),
            ca,
        })
    }

    fn sign(&self, mut params: CertificateParams, files: &Files) -> Result<(), CliError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(cannot_make)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(cannot_make)?;
        check_issued(certificate.der(), &self.ca).map_err(|error| {
            let reason =
                "only authorities that `concord cert ca` made can sign here; use the tool that made this one";
            CliError::Usage(format!("{error}: {reason}"))
        })?;
        files.write(&certificate.pem(), &key)
    }
}

/// A certificate and its key on their way to the disk.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    force: bool,
}

impl Files {
    /// Where they will be, if nothing is lost by that.
    fn claim(out: &CertOutArgs, name: &str) -> Result<Self, CliError> {
        let directory = absolute(out.out.clone());
        fs::create_dir_all(&directory)
            .map_err(|e| CliError::io(format!("cannot make {}", directory.display()), e))?;
        let files = Self {
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}-key.pem")),
            force: out.force,
        };
        for path in [&files.certificate, &files.key] {
            if !files.force && path.symlink_metadata().is_ok() {
                let reason = format!("{} exists: say --force to replace it", path.display());
                return Err(CliError::Usage(reason));
            }
        }
        Ok(files)
    }

    fn write(&self, certificate: &str, key: &KeyPair) -> Result<(), CliError> {
        self.put(&self.key, &Zeroizing::new(key.serialize_pem()), 0o600)?;
        self.put(&self.certificate, certificate, 0o644)
    }

    /// Made beside and moved, so that a file is whole or not there, and private from its first byte.
    fn put(&self, path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
        let beside = path.with_extension("pem.new");
        let failed = |e| CliError::io(format!("cannot write {}", path.display()), e);
        let _ = fs::remove_file(&beside);
        let mut file = create(&beside, mode).map_err(failed)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        if self.force {
            return fs::rename(&beside, path).map_err(failed);
        }
        // Unlike a rename, a link never replaces.
        let linked = fs::hard_link(&beside, path).map_err(failed);
        let _ = fs::remove_file(&beside);
        linked
    }

    fn tell(&self, out: &mut Out, holder: &str) -> Result<(), CliError> {
        let facts = read_certificates(&self.certificate).map_err(unusable)?;
        let until = facts
            .first()
            .map(|facts| date(facts.not_after))
            .unwrap_or_default();
        out.line(format!(
            "{}: the certificate of {holder}, until {until}",
            self.certificate.display()
        ))?;
        out.line(format!("{}: its private key", self.key.display()))
    }

    fn settings(&self) -> String {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        format!("  certificate = \"{certificate}\"\n  key = \"{key}\"")
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn create(path: &Path, mode: u32) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}
