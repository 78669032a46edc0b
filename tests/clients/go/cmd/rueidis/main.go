// Command rueidis runs rueidis without its cache, in both protocols: every shared check over one multiplexed
// connection, with dedicated connections where a command needs one.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	. "millpond.invalid/clients/report"
)

var ctx = context.Background()

func options(protocol int) rueidis.ClientOption {
	return rueidis.ClientOption{
		InitAddress: []string{Address}, DisableCache: true, ForceSingleClient: true, AlwaysRESP2: protocol == 2,
		ConnWriteTimeout: 15 * time.Second,
	}
}

func try(protocol int, change func(*rueidis.ClientOption)) (rueidis.Client, error) {
	option := options(protocol)
	change(&option)
	return rueidis.NewClient(option)
}

func connect(protocol int, change func(*rueidis.ClientOption)) rueidis.Client {
	return Ok(try(protocol, change))
}

// sender is what a client and a dedicated connection have in common.
type sender interface {
	B() rueidis.Builder
	Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult
}

// say sends the words as they are.
func say(c sender, words ...string) rueidis.RedisResult {
	return c.Do(ctx, c.B().Arbitrary(words[0]).Args(words[1:]...).Build())
}

func text(c sender, words ...string) string  { return Ok(say(c, words...).ToString()) }
func number(c sender, words ...string) int64 { return Ok(say(c, words...).AsInt64()) }
func fails(c sender, wanted string, words ...string) {
	err := say(c, words...).Error()
	// The library drops the word ERR.
	Error(err, strings.TrimPrefix(wanted, "ERR "))
	_, typed := rueidis.IsRedisErr(err)
	Same(typed, true)
}
func isNil(c sender, words ...string) bool { return rueidis.IsRedisNil(say(c, words...).Error()) }

type check struct {
	name string
	run  func(c rueidis.Client, protocol int)
}

var shared = []check{
	{"connect", func(c rueidis.Client, protocol int) {
		named := connect(protocol, func(o *rueidis.ClientOption) { o.ClientName = "pond-skater" })
		defer named.Close()
		Same(Ok(named.Do(ctx, named.B().Ping().Build()).ToString()), "PONG")
		Same(Ok(named.Do(ctx, named.B().Echo().Message("frog").Build()).ToString()), "frog")
		Same(Ok(named.Do(ctx, named.B().ClientGetname().Build()).ToString()), "pond-skater")
		info := text(named, "CLIENT", "INFO")
		Same(strings.Contains(info, fmt.Sprintf(" resp=%d", protocol)), true)
		Same(Ok(named.Do(ctx, named.B().ClientId().Build()).AsInt64()) > 0, true)
		if version := strings.Split(text(c, "INFO", "server"), "redis_version:")[1]; version >= "7.2" {
			Same(strings.Contains(info, "lib-name=rueidis"), true)
		}
	}},
	{"password", func(c rueidis.Client, protocol int) {
		at := []string{PasswordAddress()}
		client := connect(protocol, func(o *rueidis.ClientOption) { o.InitAddress = at; o.Password = Password })
		Same(text(client, "SET", "secret", "kept"), "OK")
		user := connect(protocol, func(o *rueidis.ClientOption) { o.InitAddress = at; o.Username = "default"; o.Password = Password })
		Same(text(user, "GET", "secret"), "kept")
		_, err := try(protocol, func(o *rueidis.ClientOption) { o.InitAddress = at; o.Password = "guess" })
		Error(err, "WRONGPASS invalid username-password pair or user is disabled.")
		none, err := try(protocol, func(o *rueidis.ClientOption) { o.InitAddress = at })
		if err == nil {
			err = say(none, "GET", "secret").Error()
		}
		Error(err, "NOAUTH ")
		fails(c, "without any password configured for the default user", "AUTH", "superfluous")
	}},
	{"database", func(c rueidis.Client, protocol int) {
		five := connect(protocol, func(o *rueidis.ClientOption) { o.SelectDB = 5 })
		say(c, "SET", "where", "zero")
		Same(isNil(five, "GET", "where"), true)
		say(five, "SET", "where", "five")
		Same([]any{text(c, "GET", "where"), number(c, "DBSIZE"), number(five, "DBSIZE")}, []any{"zero", int64(1), int64(1)})
		say(c, "SET", "walker", "1")
		Same([]int64{number(c, "MOVE", "walker", "5"), number(c, "EXISTS", "walker"), number(five, "EXISTS", "walker")}, []int64{1, 0, 1})
		Same(text(c, "SWAPDB", "0", "5"), "OK")
		Same([]string{text(c, "GET", "where"), text(five, "GET", "where")}, []string{"five", "zero"})
		Same(text(c, "FLUSHDB"), "OK")
		Same([]int64{number(c, "DBSIZE"), number(five, "DBSIZE")}, []int64{0, 1})
		_, err := try(protocol, func(o *rueidis.ClientOption) { o.SelectDB = 16 })
		Error(err, "DB index is out of range")
	}},
	{"values", func(c rueidis.Client, protocol int) {
		everyByte := make([]byte, 1280)
		for i := range everyByte {
			everyByte[i] = byte(i)
		}
		for _, value := range []string{"", "\r\n$-1\r\n", string(everyByte), strings.Repeat("\xff", MiB)} {
			Good(c.Do(ctx, c.B().Set().Key("value").Value(value).Build()).Error())
			Same(Ok(c.Do(ctx, c.B().Get().Key("value").Build()).ToString()) == value, true)
			Same(Ok(c.Do(ctx, c.B().Strlen().Key("value").Build()).AsInt64()), int64(len(value)))
		}
		say(c, "SET", string(everyByte), "binary key")
		Same(text(c, "GET", string(everyByte)), "binary key")
		say(c, "SET", "", "empty key")
		Same(text(c, "GET", ""), "empty key")
		say(c, "SET", "text", "a")
		Same([]any{text(c, "GETSET", "text", "b"), text(c, "GETDEL", "text"), isNil(c, "GET", "text")}, []any{"a", "b", true})
	}},
	{"mget and mset", func(c rueidis.Client, protocol int) {
		pairs, keys := map[string]string{}, []string{}
		for i := range 100 {
			keys = append(keys, fmt.Sprint("m", i))
			pairs[keys[i]] = strconv.Itoa(i)
		}
		for _, err := range rueidis.MSet(c, ctx, pairs) {
			Good(err)
		}
		back := Ok(rueidis.MGet(c, ctx, append(keys, "none")))
		found, none := back["m42"], back["none"]
		Same([]any{Ok(found.ToString()), none.IsNil(), len(back)}, []any{"42", true, 101})
		values := Ok(c.Do(ctx, c.B().Mget().Key("m1", "none", "m99").Build()).ToArray())
		Same([]any{Ok(values[0].ToString()), values[1].IsNil(), Ok(values[2].ToString())}, []any{"1", true, "99"})
		Same([]int64{number(c, "MSETNX", "m0", "x", "fresh", "y"), number(c, "EXISTS", "fresh"), number(c, "MSETNX", "fresh", "y")}, []int64{0, 0, 1})
		Same(Ok(c.Do(ctx, c.B().Exists().Key("m0", "m0", "none").Build()).AsInt64()), int64(2))
		Same(Ok(c.Do(ctx, c.B().Del().Key(keys[:50]...).Build()).AsInt64()), int64(50))
		Same(Ok(c.Do(ctx, c.B().Unlink().Key(keys...).Build()).AsInt64()), int64(50))
	}},
	{"set options", func(c rueidis.Client, protocol int) {
		soon := time.Now().Add(100 * time.Second).Truncate(time.Second)
		good := func(command rueidis.Completed) { Same(Ok(c.Do(ctx, command).ToString()), "OK") }
		null := func(command rueidis.Completed) { Same(rueidis.IsRedisNil(c.Do(ctx, command).Error()), true) }
		good(c.B().Set().Key("k").Value("1").Nx().Build())
		null(c.B().Set().Key("k").Value("2").Nx().Build())
		null(c.B().Set().Key("none").Value("2").Xx().Build())
		good(c.B().Set().Key("k").Value("2").Xx().Ex(50 * time.Second).Build())
		good(c.B().Set().Key("k").Value("3").Keepttl().Build())
		Between(45, number(c, "TTL", "k"), 50)
		good(c.B().Set().Key("k").Value("4").Build())
		Same(number(c, "TTL", "k"), int64(-1))
		good(c.B().Set().Key("k").Value("5").Px(50 * time.Second).Build())
		Between(45_000, number(c, "PTTL", "k"), 50_000)
		good(c.B().Set().Key("k").Value("6").Exat(soon).Build())
		Same(number(c, "EXPIRETIME", "k"), soon.Unix())
		good(c.B().Set().Key("k").Value("7").Pxat(soon.Add(7 * time.Millisecond)).Build())
		Same(number(c, "PEXPIRETIME", "k"), soon.UnixMilli()+7)
		Same(Ok(c.Do(ctx, c.B().Set().Key("k").Value("8").Get().Build()).ToString()), "7")
		Same(Ok(c.Do(ctx, c.B().Set().Key("k").Value("9").Nx().Get().Build()).ToString()), "8")
		null(c.B().Set().Key("fresh").Value("9").Nx().Get().Build())
		good(c.B().Set().Key("k").Value("old").PxatMillisecondsTimestamp(1).Build())
		Same(number(c, "EXISTS", "k"), int64(0))
		fails(c, "ERR invalid expire time in 'set' command", "SET", "k", "v", "EX", "0")
		fails(c, "ERR syntax error", "SET", "k", "v", "EX", "1", "PX", "1")
		Same([]int64{number(c, "SETNX", "nx", "1"), number(c, "SETNX", "nx", "2")}, []int64{1, 0})
		Same([]string{text(c, "SETEX", "sx", "60", "v"), text(c, "PSETEX", "sx", "60000", "v")}, []string{"OK", "OK"})
	}},
	{"expiry", func(c rueidis.Client, protocol int) {
		soon := time.Now().Add(100 * time.Second).Unix()
		at, later := strconv.FormatInt(soon, 10), strconv.FormatInt(soon*1000+1, 10)
		Same([]int64{number(c, "TTL", "none"), number(c, "PTTL", "none")}, []int64{-2, -2})
		say(c, "SET", "k", "v")
		Same(Ok(c.Do(ctx, c.B().Expire().Key("k").Seconds(100).Xx().Build()).AsBool()), false)
		Same(Ok(c.Do(ctx, c.B().Expire().Key("k").Seconds(100).Nx().Build()).AsBool()), true)
		Same(Ok(c.Do(ctx, c.B().Expire().Key("k").Seconds(50).Gt().Build()).AsBool()), false)
		Same(Ok(c.Do(ctx, c.B().Expire().Key("k").Seconds(50).Lt().Build()).AsBool()), true)
		Same(number(c, "PEXPIRE", "k", "90000"), int64(1))
		Between(85_000, number(c, "PTTL", "k"), 90_000)
		Same([]int64{number(c, "EXPIREAT", "k", at), number(c, "EXPIRETIME", "k")}, []int64{1, soon})
		Same([]int64{number(c, "PEXPIREAT", "k", later), number(c, "PEXPIRETIME", "k")}, []int64{1, soon*1000 + 1})
		Same([]int64{number(c, "PERSIST", "k"), number(c, "PERSIST", "k")}, []int64{1, 0})
		Same(Ok(c.Do(ctx, c.B().Getex().Key("k").Ex(40*time.Second).Build()).ToString()), "v")
		Between(35, number(c, "TTL", "k"), 40)
		Same(Ok(c.Do(ctx, c.B().Getex().Key("k").Persist().Build()).ToString()), "v")
		Same([]int64{number(c, "TTL", "k"), number(c, "EXPIRE", "k", "0"), number(c, "EXISTS", "k")}, []int64{-1, 1, 0})
		say(c, "SET", "short", "v", "PX", "30")
		Eventually("expiry", func() bool { return isNil(c, "GET", "short") })
		Same(number(c, "TTL", "short"), int64(-2))
	}},
	{"counters", func(c rueidis.Client, protocol int) {
		Same([]int64{number(c, "INCR", "n"), number(c, "INCRBY", "n", "41"), number(c, "DECR", "n"), number(c, "DECRBY", "n", "40")}, []int64{1, 42, 41, 1})
		say(c, "SET", "n", "9223372036854775807")
		fails(c, "ERR increment or decrement would overflow", "INCR", "n")
		Same(Ok(c.Do(ctx, c.B().Incrbyfloat().Key("f").Increment(10.5).Build()).AsFloat64()), 10.5)
		Same(text(c, "INCRBYFLOAT", "f", "-10.25"), "0.25")
		say(c, "SET", "f", "5.0e3")
		Same(text(c, "INCRBYFLOAT", "f", "2.0e2"), "5200")
		say(c, "SET", "text", "frog")
		fails(c, "ERR value is not an integer or out of range", "INCR", "text")
		fails(c, "ERR value is not a valid float", "INCRBYFLOAT", "text", "1")
	}},
	{"ranges", func(c rueidis.Client, protocol int) {
		Same([]int64{number(c, "APPEND", "s", "Hello "), number(c, "APPEND", "s", "World")}, []int64{6, 11})
		Same([]string{text(c, "GETRANGE", "s", "0", "4"), text(c, "GETRANGE", "s", "-5", "-1"), text(c, "GETRANGE", "s", "5", "2")}, []string{"Hello", "World", ""})
		Same(number(c, "SETRANGE", "s", "6", "Ponds"), int64(11))
		Same(text(c, "GET", "s"), "Hello Ponds")
		Same(number(c, "SETRANGE", "pad", "3", "x"), int64(4))
		Same(text(c, "GET", "pad"), "\x00\x00\x00x")
		fails(c, "ERR offset is out of range", "SETRANGE", "s", "-1", "x")
	}},
	{"keyspace", func(c rueidis.Client, protocol int) {
		say(c, "SET", "a", "1", "EX", "100")
		Same(text(c, "RENAME", "a", "b"), "OK")
		Between(90, number(c, "TTL", "b"), 100)
		fails(c, "ERR no such key", "RENAME", "a", "b")
		say(c, "SET", "c", "3")
		Same([]int64{number(c, "RENAMENX", "b", "c"), number(c, "RENAMENX", "b", "d")}, []int64{0, 1})
		Same([]int64{number(c, "COPY", "d", "c"), number(c, "COPY", "d", "c", "REPLACE"), number(c, "COPY", "d", "d", "DB", "3")}, []int64{0, 1, 1})
		Same(text(connect(protocol, func(o *rueidis.ClientOption) { o.SelectDB = 3 }), "GET", "d"), "1")
		Same([]any{text(c, "TYPE", "c"), text(c, "TYPE", "none"), number(c, "TOUCH", "c", "d", "none")}, []any{"string", "none", int64(2)})
		Same(slices.Contains([]string{"c", "d"}, text(c, "RANDOMKEY")), true)
		Same([]any{text(c, "OBJECT", "ENCODING", "c"), isNil(c, "OBJECT", "ENCODING", "none")}, []any{"int", true})
		Between(1, number(c, "MEMORY", "USAGE", "c"), 1000)
		Same([]any{text(c, "FLUSHALL"), isNil(c, "RANDOMKEY"), number(c, "DBSIZE")}, []any{"OK", true, int64(0)})
	}},
	{"pipeline", func(c rueidis.Client, protocol int) {
		var commands rueidis.Commands
		for i := range 1000 {
			key := fmt.Sprint("p", i)
			commands = append(commands, c.B().Set().Key(key).Value(strconv.Itoa(i)).Build(), c.B().Get().Key(key).Build())
		}
		for i, reply := range c.DoMulti(ctx, commands...) {
			if i%2 == 1 {
				Same(Ok(reply.ToString()), strconv.Itoa(i/2))
			}
		}
		mixed := c.DoMulti(ctx, c.B().Set().Key("text").Value("frog").Build(), c.B().Incr().Key("text").Build(),
			c.B().Arbitrary("NOSUCH").Build(), c.B().Get().Key("text").Build())
		Error(mixed[1].Error(), "value is not an integer")
		Error(mixed[2].Error(), "unknown command")
		Same(Ok(mixed[3].ToString()), "frog")
	}},
	{"large pipeline", func(c rueidis.Client, protocol int) {
		var commands rueidis.Commands
		for range 30000 {
			commands = append(commands, c.B().Incr().Key("big").Build())
		}
		for i, reply := range c.DoMulti(ctx, commands...) {
			Same(Ok(reply.AsInt64()), int64(i+1))
		}
		var blocks, reads rueidis.Commands
		for i := range 16 {
			key := fmt.Sprint("block", i)
			blocks = append(blocks, c.B().Set().Key(key).Value(strings.Repeat(string([]byte{byte(i)}), MiB)).Build())
			reads = append(reads, c.B().Getdel().Key(key).Build())
		}
		for _, reply := range c.DoMulti(ctx, blocks...) {
			Good(reply.Error())
		}
		for i, reply := range c.DoMulti(ctx, reads...) {
			Same(Ok(reply.ToString()) == strings.Repeat(string([]byte{byte(i)}), MiB), true)
		}
	}},
	{"transaction", func(c rueidis.Client, protocol int) {
		one, release := c.Dedicate()
		defer release()
		Same([]string{text(one, "MULTI"), text(one, "SET", "a", "1"), text(one, "INCR", "a"), text(one, "GET", "none")}, []string{"OK", "QUEUED", "QUEUED", "QUEUED"})
		replies := Ok(say(one, "EXEC").ToArray())
		Same([]any{Ok(replies[0].ToString()), Ok(replies[1].AsInt64()), replies[2].IsNil()}, []any{"OK", int64(2), true})
		say(one, "MULTI")
		say(one, "SET", "text", "frog")
		say(one, "INCR", "text")
		say(one, "SET", "after", "done")
		replies = Ok(say(one, "EXEC").ToArray())
		Error(replies[1].Error(), "value is not an integer or out of range")
		Same(text(one, "GET", "after"), "done")
		say(one, "MULTI")
		say(one, "SET", "aborted", "1")
		fails(one, "unknown command", "NOSUCH")
		fails(one, "EXECABORT Transaction discarded because of previous errors.", "EXEC")
		Same(number(one, "EXISTS", "aborted"), int64(0))
		Same([]string{text(one, "MULTI"), text(one, "SET", "dropped", "1")}, []string{"OK", "QUEUED"})
		fails(one, "ERR MULTI calls can not be nested", "MULTI")
		Same([]any{text(one, "DISCARD"), number(one, "EXISTS", "dropped")}, []any{"OK", int64(0)})
		fails(one, "ERR EXEC without MULTI", "EXEC")
		fails(one, "ERR DISCARD without MULTI", "DISCARD")
	}},
	{"watch", func(c rueidis.Client, protocol int) {
		say(c, "SET", "w", "1")
		one, release := c.Dedicate()
		Same(text(one, "WATCH", "w"), "OK")
		say(c, "SET", "w", "2")
		replies := one.DoMulti(ctx, one.B().Multi().Build(), one.B().Set().Key("w").Value("3").Build(), one.B().Exec().Build())
		Same(rueidis.IsRedisNil(replies[2].Error()), true)
		say(one, "WATCH", "w")
		say(c, "SET", "w", "4")
		Same(text(one, "UNWATCH"), "OK")
		replies = one.DoMulti(ctx, one.B().Multi().Build(), one.B().Set().Key("w").Value("5").Build(), one.B().Exec().Build())
		Same(len(Ok(replies[2].ToArray())), 1)
		release()
		say(c, "SET", "sum", "0")
		Together(8, func(int) {
			for added := 0; added < 25; {
				Good(c.Dedicated(func(mine rueidis.DedicatedClient) error {
					say(mine, "WATCH", "sum")
					next := number(mine, "GET", "sum") + 1
					replies := mine.DoMulti(ctx, mine.B().Multi().Build(),
						mine.B().Set().Key("sum").Value(strconv.FormatInt(next, 10)).Build(), mine.B().Exec().Build())
					if err := replies[2].Error(); err == nil {
						added++
					} else if !rueidis.IsRedisNil(err) {
						return err
					}
					return nil
				}))
			}
		})
		Same(text(c, "GET", "sum"), "200")
	}},
	{"scan", func(c rueidis.Client, protocol int) {
		fill := func(prefix string, count int) {
			words := []string{"MSET"}
			for i := range count {
				words = append(words, fmt.Sprintf("%s:%d", prefix, i), "v")
			}
			Same(text(c, words...), "OK")
		}
		fill("scan", 5000)
		fill("other", 500)
		all := func(each func(page []string), options ...string) int {
			seen := map[string]bool{}
			scanner := rueidis.NewScanner(func(cursor uint64) (rueidis.ScanEntry, error) {
				return say(c, append([]string{"SCAN", strconv.FormatUint(cursor, 10)}, options...)...).AsScanEntry()
			})
			for key := range scanner.Iter() {
				seen[key] = true
				each([]string{key})
			}
			Good(scanner.Err())
			return len(seen)
		}
		none := func([]string) {}
		Same(all(none, "MATCH", "scan:*", "COUNT", "100"), 5000)
		Same(all(none, "COUNT", "1000"), 5500)
		Same(all(none, "MATCH", "other:?", "COUNT", "500"), 10)
		Same(all(none, "TYPE", "string", "COUNT", "500"), 5500)
		Same(all(none, "TYPE", "list", "COUNT", "500"), 0)
		Same(len(Ok(say(c, "KEYS", "scan:*").AsStrSlice())), 5000)
		Same(len(Ok(say(c, "KEYS", "other:[12]").AsStrSlice())), 2)
		all(func(page []string) { say(c, "UNLINK", page[0]) }, "MATCH", "scan:*", "COUNT", "50")
		Same(number(c, "DBSIZE"), int64(500))
		fails(c, "ERR invalid cursor", "SCAN", "frog")
	}},
	{"errors", func(c rueidis.Client, protocol int) {
		fails(c, "ERR wrong number of arguments for 'get' command", "GET")
		fails(c, "ERR wrong number of arguments for 'del' command", "DEL")
		fails(c, "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", "NOSUCH", "a", "b")
		fails(c, "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.", "CLIENT", "NOSUCH")
		fails(c, "ERR value is not an integer or out of range", "EXPIRE", "k", "soon")
		fails(c, "ERR syntax error", "SET", "k", "v", "SOMEHOW")
		fails(c, "NOPROTO unsupported protocol version", "HELLO", "9")
		Same(text(c, "PING"), "PONG")
	}},
	{"server", func(c rueidis.Client, protocol int) {
		say(c, "SET", "k", "v")
		lines := strings.Split(text(c, "INFO"), "\r\n")
		for _, line := range []string{"redis_mode:standalone", "role:master", "cluster_enabled:0", "db0:keys=1,expires=0,avg_ttl=0"} {
			Same(slices.Contains(lines, line), true)
		}
		config := func(pattern string) map[string]string { return Ok(say(c, "CONFIG", "GET", pattern).AsStrMap()) }
		before := config("maxmemory")["maxmemory"]
		Same(text(c, "CONFIG", "SET", "maxmemory", "300mb"), "OK")
		Same(config("maxmem*ry"), map[string]string{"maxmemory": strconv.Itoa(300 * MiB)})
		Same(text(c, "CONFIG", "SET", "maxmemory", before), "OK")
		Same(config("nosuch*"), map[string]string{})
		fails(c, "CONFIG SET", "CONFIG", "SET", "nosuch", "1")
		Same(Ok(say(c, "COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2").AsStrSlice()), []string{"a", "b"})
		Same(slices.Contains(Ok(say(c, "COMMAND", "LIST").AsStrSlice()), "get"), true)
		Same(Ok(Ok(say(c, "ROLE").ToArray())[0].ToString()), "master")
		Same([]int{len(Ok(say(c, "MODULE", "LIST").ToArray())), len(Ok(say(c, "LATENCY", "LATEST").ToArray()))}, []int{0, 0})
		seconds := Ok(strconv.ParseInt(Ok(say(c, "TIME").AsStrSlice())[0], 10, 64))
		Between(time.Now().Unix()-5, seconds, time.Now().Unix()+5)
		Same([]any{text(c, "SLOWLOG", "RESET"), len(Ok(say(c, "SLOWLOG", "GET", "10").ToArray())) <= 1}, []any{"OK", true})
	}},
	{"clients", func(c rueidis.Client, protocol int) {
		name := fmt.Sprint("victim-", protocol)
		victim := connect(protocol, func(o *rueidis.ClientOption) { o.ClientName = name; o.PipelineMultiplex = -1; o.DisableRetry = true })
		id := strconv.FormatInt(number(victim, "CLIENT", "ID"), 10)
		Same(strings.Count(text(c, "CLIENT", "LIST"), " name="+name+" ") >= 1, true)
		Same(strings.Contains(text(c, "CLIENT", "LIST", "ID", id), "id="+id+" addr="), true)
		Same([]int64{number(c, "CLIENT", "KILL", "ID", id), number(c, "CLIENT", "KILL", "ID", id)}, []int64{1, 0})
		fails(c, "ERR No such client", "CLIENT", "KILL", "127.0.0.1:1")
		Same(text(c, "CLIENT", "NO-EVICT", "ON"), "OK")
		Same(text(c, "CLIENT", "NO-EVICT", "OFF"), "OK")
	}},
	{"reconnect", func(c rueidis.Client, protocol int) {
		name := fmt.Sprint("again-", protocol)
		victim := connect(protocol, func(o *rueidis.ClientOption) { o.ClientName = name; o.SelectDB = 2; o.PipelineMultiplex = -1 })
		say(victim, "SET", "before", "1")
		for range 3 {
			id := number(victim, "CLIENT", "ID")
			Same(number(c, "CLIENT", "KILL", "ID", strconv.FormatInt(id, 10)), int64(1))
			// Reads are sent again on the new connection; anything else may tell that the old one is gone.
			Same(Ok(victim.Do(ctx, victim.B().Get().Key("before").Build()).ToString()), "1")
			Same([]any{number(victim, "CLIENT", "ID") > id, text(victim, "CLIENT", "GETNAME")}, []any{true, name})
		}
	}},
	{"workers", func(c rueidis.Client, protocol int) {
		Together(50, func(int) {
			for range 100 {
				Good(c.Do(ctx, c.B().Incr().Key("total").Build()).Error())
			}
		})
		Same(text(c, "GET", "total"), "5000")
	}},
	{"cluster refused", func(c rueidis.Client, protocol int) {
		for _, question := range []string{"INFO", "SLOTS", "NODES", "SHARDS"} {
			fails(c, "ERR This instance has cluster support disabled", "CLUSTER", question)
		}
		fails(c, "ERR This instance has cluster support disabled", "READONLY")
		fails(c, "ERR unknown command", "SENTINEL", "MASTERS")
		Same(number(c, "WAIT", "0", "10"), int64(0))
		// Without ForceSingleClient the library asks for a cluster first and takes the refusal for an answer.
		free := connect(protocol, func(o *rueidis.ClientOption) { o.ForceSingleClient = false })
		Same(text(free, "PING"), "PONG")
	}},
	{"timeout", func(c rueidis.Client, protocol int) {
		slow := connect(protocol, func(o *rueidis.ClientOption) { o.DisableRetry = true })
		say(slow, "SET", "t", "right")
		Same(text(c, "CLIENT", "PAUSE", "400"), "OK")
		read := func(key string) (string, error) {
			limited, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			return slow.Do(limited, slow.B().Get().Key(key).Build()).ToString()
		}
		_, err := read("wrong answer")
		Same(errors.Is(err, context.DeadlineExceeded), true)
		// The late reply belongs to the question that was given up.
		Eventually("the end of the pause", func() bool {
			value, err := read("t")
			if err == nil {
				Same(value, "right")
			}
			return err == nil
		})
	}},
}

func main() {
	report := New("rueidis", ModuleVersion("github.com/redis/rueidis"))
	for _, protocol := range []int{2, 3} {
		for _, check := range shared {
			client, err := rueidis.NewClient(options(protocol))
			report.Run(fmt.Sprintf("resp%d %s", protocol, check.name), func() {
				Good(err)
				Same(text(client, "FLUSHALL"), "OK")
				check.run(client, protocol)
			})
			if err == nil {
				client.Close()
			}
		}
	}
	report.Run("resp3 hello refused", func() {
		client := connect(3, func(o *rueidis.ClientOption) {
			o.InitAddress = []string{NoHello}
			o.SelectDB = 4
			o.ClientName = "fallback"
		})
		Same(text(client, "SET", "old", "way"), "OK")
		info := text(client, "CLIENT", "INFO")
		Same([]bool{strings.Contains(info, " resp=2"), strings.Contains(info, " db=4 "), strings.Contains(info, " name=fallback ")}, []bool{true, true, true})
	})
	report.Print()
}
