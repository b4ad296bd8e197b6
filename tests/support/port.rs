//! Ports that stay ours.
//!
//! A test that restarts an upstream on its old port, or names a listener's port in a file,
//! must not lose it to another test in between. A socket that is bound and never listens keeps
//! the port: with `SO_REUSEADDR` others may still bind and listen on it, but the system hands
//! it to nobody who asks for "any".

use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};

/// A TCP port on 127.0.0.1 that nobody else is given while this lives. Connections to it are
/// refused until someone listens.
pub struct Port {
    address: SocketAddr,
    _holder: Socket,
}

impl Port {
    /// Any port that is free.
    pub fn reserve() -> Self {
        let holder = bound((Ipv4Addr::LOCALHOST, 0).into());
        let address = holder.local_addr().unwrap().as_socket().unwrap();
        Self { address, _holder: holder }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens on it.
    pub fn listen(&self) -> tokio::net::TcpListener {
        let socket = bound(self.address);
        socket.listen(1024).unwrap();
        socket.set_nonblocking(true).unwrap();
        tokio::net::TcpListener::from_std(socket.into()).unwrap()
    }

    /// Listens and lets nobody in: with its queue full, a further connection attempt hangs.
    /// The returned sockets hold the queue.
    pub fn black_hole(&self) -> BlackHole {
        let socket = bound(self.address);
        socket.listen(0).unwrap();
        let mut queued = Vec::new();
        // A backlog of 0 still takes one or two; what comes after gets no answer at all.
        for _ in 0..4 {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&self.address.into());
            queued.push(client);
        }
        BlackHole { _listener: socket, _queued: queued }
    }
}

/// A listener whose queue is full.
pub struct BlackHole {
    _listener: Socket,
    _queued: Vec<Socket>,
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap_or_else(|e| panic!("cannot bind {address}: {e}"));
    socket
}
