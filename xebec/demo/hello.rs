//! The second version of the demo's service: an ordinary program in an ordinary container image. It is compiled on its own,
//! statically linked, and needs nothing else in its image.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// The signal that asks for an end. A container's first process is given it only if it has said what to do then.
const SIGTERM: i32 = 15;

unsafe extern "C" {
    safe fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    safe fn _exit(status: i32) -> !;
}

extern "C" fn end(_number: i32) {
    _exit(0)
}

fn main() -> std::io::Result<()> {
    signal(SIGTERM, end);
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let listener = TcpListener::bind(format!("0.0.0.0:{port}"))?;
    println!("listening on port {port}");
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            // A client that goes away in the middle of an answer is nobody's fault.
            let _ended = answer(stream);
        });
    }
    Ok(())
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let greeting = std::env::var("GREETING").unwrap_or_else(|_| "hello".to_owned());
    let version = std::env::var("VERSION").unwrap_or_else(|_| "v2".to_owned());
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let (mut line, mut body, mut last) = (String::new(), 0_u64, false);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(length) = lower.strip_prefix("content-length:") {
                body = length.trim().parse().unwrap_or(0);
            }
            last |= lower.starts_with("connection:") && lower.contains("close");
        }
        std::io::copy(&mut std::io::Read::take(&mut reader, body), &mut std::io::sink())?;
        println!("request {}", first.split(' ').nth(1).unwrap_or("/"));
        let text = format!("{greeting} {version}\n");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", text.len());
        // In one piece: the second of two would wait until the client acknowledges the first.
        writer.write_all((head + &text).as_bytes())?;
        if last {
            return Ok(());
        }
    }
}
