//! Every maximum and every default wait of the transport in one place.

use std::time::Duration;

/// Default largest message: the product's 64 MiB request and room for what the engine
/// wraps around it.
pub const PAYLOAD_BYTES_MAX: usize = (64 << 20) + (64 << 10);
/// No configuration may raise the largest message beyond this.
pub const PAYLOAD_BYTES_CEILING: usize = 1 << 30;
/// Body of a hello: what a later version may grow to. Read before any proof, so small.
pub const HELLO_BODY_BYTES_MAX: usize = 512;
/// Words of a refusal.
pub const REASON_BYTES_MAX: usize = 512;
/// Body of a verdict: an identity and a reason, with room to grow.
pub const VERDICT_BODY_BYTES_MAX: usize = 1024;
/// Shortest cluster secret that is taken. A dialer shows its listener something to try
/// guesses against, so a secret must not be guessable.
pub const SECRET_BYTES_MIN: usize = 16;
/// Longest cluster secret.
pub const SECRET_BYTES_MAX: usize = 1024;

/// Bytes asked of the socket at once, and kept by an idle connection.
pub const READ_BYTES: usize = 64 << 10;
/// Step in which room for a big payload is made: memory follows bytes that arrived, not
/// a length that was announced.
pub const PAYLOAD_STEP_BYTES: usize = 1 << 20;
/// Frames are gathered into one write up to this size.
pub const WRITE_BYTES: usize = 64 << 10;
/// Payloads from this size on are written from where they are, without a copy.
pub const WRITE_THROUGH_BYTES: usize = 16 << 10;

/// Calls of one lane to one peer that wait for an answer.
pub const CALLS_IN_FLIGHT_MAX: usize = 1024;
/// Calls of one connection that a listener works on at once.
pub const CALLS_SERVED_MAX: usize = 256;
/// Messages held for the owner of a stream, in each direction.
pub const STREAM_MESSAGES_MAX: usize = 16;
/// A message longer than this waits until the owner of the stream has taken all before it.
pub const STREAM_SMALL_MESSAGE_BYTES: usize = 1 << 20;

/// Peers (address and lane) that a transport remembers.
pub const LINKS_MAX: usize = 1024;
/// Connections that a listener keeps, proven and unproven.
pub const CONNECTIONS_MAX: usize = 1024;
/// Connections that have not proven the secret yet. When one more comes, the oldest goes:
/// a flood cannot lock honest peers out for the length of a handshake deadline.
pub const UNPROVEN_MAX: usize = 128;
/// Connections of one peer.
pub const CONNECTIONS_PER_PEER_MAX: usize = 64;

/// Wait for a TCP connection, name resolution included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Wait for the whole handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A side that has sent nothing for this long sends an `alive` frame.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(1000);
/// A peer from which nothing came for this long is gone.
pub const DEAD_AFTER: Duration = Duration::from_millis(4000);
/// A call connection whose peer takes no bytes for this long is dropped.
pub const CALL_STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream whose peer takes no bytes for this long is dropped: longer, for its owner may be at work.
pub const STREAM_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a side may go on sending after its peer has ended its half of a stream.
pub const STREAM_LINGER: Duration = Duration::from_secs(5);
/// A dialer closes a call connection that carried nothing for this long.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// First wait after a failed dial; doubles, with jitter.
pub const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Longest wait between dials.
pub const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Wait after the system refused to accept (out of files), so as not to spin.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Log lines of one kind in one [`LOG_WINDOW`]; the rest is counted.
pub const LOG_LINES_MAX: u32 = 5;
/// See [`LOG_LINES_MAX`].
pub const LOG_WINDOW: Duration = Duration::from_secs(1);

/// Largest file of certificates or a key.
pub const PEM_BYTES_MAX: u64 = 1 << 20;
/// Days before the end of a certificate from which on it is warned of.
pub const CERTIFICATE_WARNING_DAYS: i64 = 30;
/// How long whoever was refused by TLS may take to read why, and how much is read of it meanwhile.
pub const PARTING_TIMEOUT: Duration = Duration::from_secs(1);
/// See [`PARTING_TIMEOUT`].
pub const PARTING_BYTES_MAX: usize = 64 << 10;

/// Every packet of gossip has this length, so that no answer is larger than its question. Fits the smallest path that IPv6 allows.
pub const GOSSIP_PACKET_BYTES: usize = 1_200;
/// Contacts that gossip remembers.
pub const GOSSIP_CONTACTS_MAX: usize = 256;
/// Of them, told in one packet.
pub const GOSSIP_CONTACTS_TOLD_MAX: usize = 32;
/// Bytes of a peer address in a packet of gossip: what the engine takes.
pub const GOSSIP_ADDRESS_BYTES_MAX: usize = 300;
/// Time between rounds of questions.
pub const GOSSIP_INTERVAL: Duration = Duration::from_secs(1);
/// Contacts asked in a round; more when there are many, so that each is asked every ten rounds.
pub const GOSSIP_ASKED_MIN: usize = 3;
/// How often the names of the seeds are resolved anew.
pub const GOSSIP_RESOLVE_INTERVAL: Duration = Duration::from_secs(10);
/// A contact is told of, and suggested, for this long after its last answer.
pub const GOSSIP_HEARD_FOR: Duration = Duration::from_secs(30);
/// A contact that has left so many questions unanswered is forgotten.
pub const GOSSIP_UNANSWERED_MAX: u32 = 5;
/// How long a cookie is given out; it is taken for as long again.
pub const GOSSIP_COOKIE_LIFE: Duration = Duration::from_secs(60);
/// Packets whose proof is looked at in one round; what comes beyond is dropped unread.
pub const GOSSIP_PACKETS_PER_ROUND_MAX: u32 = 1_000;
/// One warning for each reason to drop packets in this time.
pub const GOSSIP_WARNING_WINDOW: Duration = Duration::from_secs(60);
