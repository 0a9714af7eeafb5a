//! Reach faults over loopback sockets, by each mechanism that works here.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod proxy_support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use brownout::clock::RunClock;
use brownout::event::Mechanism;
use brownout::plan::fault::Direction;
use brownout::proxy::{Engine, Link, Reach, Strike, StrikeId};
use brownout::seed::Seed;
use proxy_support::{echo, engines, latency, link, server, soon, toxic};

fn strike(link: &Link, reach: Reach) -> StrikeId {
    link.strike("reach", Strike::Reach(reach), Seed(1)).unwrap().id
}

fn says(client: &mut TcpStream, text: &[u8]) {
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.write_all(text).unwrap();
    hears(client, text);
}

fn hears(client: &mut TcpStream, text: &[u8]) {
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut back = vec![0; text.len()];
    client.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

fn hears_nothing(client: &mut TcpStream) {
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
}

fn dial(address: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, patience)
}

#[test]
fn a_silent_cut_withholds_bytes_and_healing_delivers_them_in_order() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        says(&mut client, b"before");
        let cut = strike(&link, Reach::Silent(Direction::Both));
        client.write_all(b"first ").unwrap();
        hears_nothing(&mut client);
        client.write_all(b"second").unwrap();
        hears_nothing(&mut client);
        let met = link.heal(cut).unwrap();
        assert_eq!(met.passed_bytes, 0);
        match engine.mechanism() {
            Mechanism::KernelDrop => assert!(met.dropped_segments >= 1, "{met:?}"),
            Mechanism::Stall => assert_eq!(met.withheld_bytes, 12, "{met:?}"),
        }
        hears(&mut client, b"first second");
        says(&mut client, b"after");
    }
}

#[test]
fn a_one_way_cut_lets_the_other_direction_pass() {
    for engine in engines() {
        let link = link(
            &engine,
            server(|mut stream| {
                let mut reader = stream.try_clone().unwrap();
                thread::spawn(move || {
                    // What comes up is noted by its length, on the way down.
                    let mut buffer = [0; 100];
                    while let Ok(n @ 1..) = reader.read(&mut buffer) {
                        let _ = reader.write_all(&vec![b'.'; n]);
                    }
                });
                loop {
                    thread::sleep(Duration::from_millis(20));
                    if stream.write_all(b"t").is_err() {
                        return;
                    }
                }
            }),
        );
        let mut client = TcpStream::connect(link.addr()).unwrap();
        hears(&mut client, b"t");
        let cut = strike(&link, Reach::Silent(Direction::Up));
        client.write_all(b"12345").unwrap();
        hears(&mut client, b"tttttttttt");
        assert!(link.evidence(cut).unwrap().passed_bytes == 0);
        let met = link.heal(cut).unwrap();
        assert!(met.dropped_segments + met.withheld_bytes > 0);
        soon("the five bytes come", || {
            let mut buffer = [0; 1000];
            let n = client.read(&mut buffer).unwrap();
            buffer[..n].contains(&b'.')
        });
    }
}

#[test]
fn a_long_stream_survives_cuts_and_heals_whole() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        let sent: Vec<u8> = (0..30_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let expected = sent.clone();
        let mut reader = client.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            got
        });
        let writing = thread::spawn(move || {
            for chunk in sent.chunks(1_000_000) {
                client.write_all(chunk).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
            client.shutdown(Shutdown::Write).unwrap();
            client
        });
        for reach in [
            Reach::Silent(Direction::Both),
            Reach::Silent(Direction::Up),
            Reach::Silent(Direction::Down),
            Reach::BlackHole,
            Reach::Flap { up: Duration::from_millis(5), down: Duration::from_millis(10) },
        ] {
            thread::sleep(Duration::from_millis(15));
            let cut = strike(&link, reach);
            thread::sleep(Duration::from_millis(30));
            let slow = link.strike("slow", toxic(Direction::Both, latency(Duration::from_millis(5))), Seed(1)).unwrap();
            thread::sleep(Duration::from_millis(10));
            link.heal(cut).unwrap();
            thread::sleep(Duration::from_millis(10));
            link.heal(slow.id).unwrap();
        }
        let _client = writing.join().unwrap();
        let got = reading.join().unwrap();
        assert_eq!(got.len(), expected.len());
        assert!(got == expected);
    }
}

#[test]
fn new_connections_get_no_answer_through_a_silent_cut() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let cut = strike(&link, Reach::BlackHole);
        let dialled = dial(link.addr(), Duration::from_millis(200));
        let met = |at_least| {
            soon("it is counted", || {
                let met = link.evidence(cut).unwrap();
                met.dropped_segments + met.connections >= at_least
            })
        };
        met(1);
        match engine.mechanism() {
            Mechanism::KernelDrop => assert_eq!(dialled.unwrap_err().kind(), ErrorKind::TimedOut),
            Mechanism::Stall => {
                let mut client = dialled.unwrap();
                client.write_all(b"hello").unwrap();
                hears_nothing(&mut client);
                link.heal(cut).unwrap();
                hears(&mut client, b"hello");
            }
        }
        link.heal(cut);
        says(&mut dial(link.addr(), Duration::from_secs(5)).unwrap(), b"healed");
    }
}

#[test]
fn a_fin_sent_into_a_silence_arrives_after_it() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        says(&mut client, b"before");
        let cut = strike(&link, Reach::Silent(Direction::Both));
        client.write_all(b"last").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        hears_nothing(&mut client);
        link.heal(cut).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"last");
        soon("it is over", || link.counters().closed.get("fin") == Some(&1));
    }
}

#[test]
fn a_user_timeout_fires_through_a_kernel_drop() {
    for engine in engines().into_iter().filter(|engine| engine.mechanism() == Mechanism::KernelDrop) {
        let link = link(&engine, server(echo));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        says(&mut client, b"before");
        socket2::SockRef::from(&client).set_tcp_user_timeout(Some(Duration::from_millis(400))).unwrap();
        let cut = strike(&link, Reach::Silent(Direction::Both));
        client.write_all(b"unacknowledged").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
        link.heal(cut).unwrap();
    }
}

#[test]
fn reset_resets_open_connections_and_new_ones() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        says(&mut client, b"before");
        let reset = strike(&link, Reach::Reset);
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let mut next = TcpStream::connect(link.addr()).unwrap();
        assert_eq!(next.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(link.heal(reset).unwrap().connections, 2);
        says(&mut TcpStream::connect(link.addr()).unwrap(), b"healed");
    }
}

#[test]
fn refuse_leaves_open_connections_alone_and_keeps_the_port() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        says(&mut client, b"before");
        let refuse = strike(&link, Reach::Refuse);
        for _ in 0..3 {
            assert_eq!(TcpStream::connect(link.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        says(&mut client, b"still here");
        let met = link.heal(refuse).unwrap();
        // Counting them takes a raw socket, which not everyone may open.
        let privileged = rustix::process::geteuid().is_root();
        assert_eq!(met.connections, if privileged { 3 } else { 0 });
        says(&mut TcpStream::connect(link.addr()).unwrap(), b"healed");
        says(&mut client, b"after");
    }
}

#[test]
fn refused_also_resets_what_is_open() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        says(&mut client, b"before");
        let refused = strike(&link, Reach::Refused);
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(TcpStream::connect(link.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(link.heal(refused).unwrap().connections >= 1);
        says(&mut TcpStream::connect(link.addr()).unwrap(), b"healed");
    }
}

#[test]
fn half_open_says_nothing_to_the_client_until_it_speaks_to_the_healed_server() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        says(&mut client, b"before");
        let half = strike(&link, Reach::HalfOpen);
        hears_nothing(&mut client);
        client.write_all(b"hello?").unwrap();
        hears_nothing(&mut client);
        says(&mut TcpStream::connect(link.addr()).unwrap(), b"new ones work");
        let met = link.heal(half).unwrap();
        assert!(met.withheld_bytes + met.dropped_segments > 0, "{met:?}");
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn drop_closes_with_fin_or_rst_as_told() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        for (reset, share, once) in [(true, 1.0, true), (false, 1.0, true), (true, 0.9, false), (false, 0.9, false)] {
            let mut clients: Vec<_> = (0..10).map(|_| TcpStream::connect(link.addr()).unwrap()).collect();
            clients.iter_mut().for_each(|client| says(client, b"before"));
            let dropping = strike(&link, Reach::Drop { share, reset, once });
            for client in &mut clients {
                match client.read(&mut [0; 1]) {
                    Ok(0) => assert!(!reset),
                    Err(error) => assert!(reset && error.kind() == ErrorKind::ConnectionReset, "{error}"),
                    Ok(_) => panic!("no byte was sent"),
                }
            }
            assert_eq!(link.heal(dropping).unwrap().connections, 10);
        }
    }
}

#[test]
fn a_flap_comes_and_goes() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        says(&mut client, b"before");
        let (up, down) = (Duration::from_millis(300), Duration::from_millis(300));
        let flap = strike(&link, Reach::Flap { up, down });
        let clock = RunClock::start();
        client.write_all(b"x").unwrap();
        hears_nothing(&mut client);
        hears(&mut client, b"x");
        assert!(clock.now().as_secs_f64() >= 0.25);
        link.heal(flap).unwrap();
        says(&mut client, b"after");
    }
}

#[test]
fn the_newest_reach_fault_wins_and_healing_uncovers_the_rest() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let cut = strike(&link, Reach::Silent(Direction::Both));
        let refuse = strike(&link, Reach::Refuse);
        assert_eq!(TcpStream::connect(link.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        link.heal(refuse).unwrap();
        let dialled = dial(link.addr(), Duration::from_millis(100));
        assert_eq!(dialled.is_err(), engine.mechanism() == Mechanism::KernelDrop);
        link.heal(cut).unwrap();
        says(&mut dial(link.addr(), Duration::from_secs(5)).unwrap(), b"healed");
    }
}

#[test]
fn packet_loss_in_the_kernel_loses_no_byte() {
    use brownout::plan::fault::Toxic;
    use brownout::units::Share;
    for engine in engines() {
        let link = link(&engine, server(echo));
        let loss = Toxic::PacketLoss { loss: Share::new(0.2).unwrap(), correlation: Share::NONE };
        let struck = link.strike("loss", toxic(Direction::Both, loss), Seed(1)).unwrap();
        assert_eq!(struck.mechanism, Some(engine.mechanism()));
        let mut client = TcpStream::connect(link.addr()).unwrap();
        for round in 0..30u8 {
            says(&mut client, &[round; 100]);
        }
        let met = link.heal(struck.id).unwrap();
        assert!(met.dropped_segments + met.altered_chunks > 0, "{met:?}");
        says(&mut client, b"healed");
    }
}

#[test]
fn an_engine_that_ends_closes_everything() {
    for engine in engines() {
        let link = link(&engine, server(echo));
        let address = link.addr();
        let mut client = TcpStream::connect(address).unwrap();
        says(&mut client, b"before");
        let ended: Engine = engine;
        drop(ended);
        assert!(!client.read(&mut [0; 1]).is_ok_and(|n| n > 0));
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        drop(link);
    }
}
