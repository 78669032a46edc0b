// Command goredis runs go-redis in both protocols: every shared check, and the fallback when HELLO is refused.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	. "millpond.invalid/clients/report"
)

var ctx = context.Background()

// options gives a client of the protocol that tells every refusal at once.
func options(protocol int) *redis.Options {
	return &redis.Options{Addr: Address, Protocol: protocol, MaxRetries: -1, ReadTimeout: 15 * time.Second}
}

func connect(protocol int, change func(*redis.Options)) *redis.Client {
	o := options(protocol)
	change(o)
	return redis.NewClient(o)
}

type check struct {
	name string
	run  func(c *redis.Client, protocol int)
}

var shared = []check{
	{"connect", func(c *redis.Client, protocol int) {
		named := connect(protocol, func(o *redis.Options) { o.ClientName = "pond-skater"; o.PoolSize = 1 })
		defer named.Close()
		Same(Ok(named.Ping(ctx).Result()), "PONG")
		Same(Ok(named.Echo(ctx, "frog").Result()), "frog")
		Same(Ok(named.ClientGetName(ctx).Result()), "pond-skater")
		info := Ok(named.ClientInfo(ctx).Result())
		Same([]any{info.Name, info.Resp, info.ID}, []any{"pond-skater", protocol, Ok(named.ClientID(ctx).Result())})
		if version := serverVersion(c); version[0] > 7 || version[0] == 7 && version[1] >= 2 {
			Same(strings.HasPrefix(info.LibName, "go-redis"), true)
		}
	}},
	{"password", func(c *redis.Client, protocol int) {
		at := PasswordAddress()
		client := connect(protocol, func(o *redis.Options) { o.Addr = at; o.Password = Password })
		Same(Ok(client.Set(ctx, "secret", "kept", 0).Result()), "OK")
		Same(Ok(client.Get(ctx, "secret").Result()), "kept")
		user := connect(protocol, func(o *redis.Options) { o.Addr = at; o.Username = "default"; o.Password = Password })
		Same(Ok(user.Get(ctx, "secret").Result()), "kept")
		guess := connect(protocol, func(o *redis.Options) { o.Addr = at; o.Password = "guess" })
		err := guess.Get(ctx, "secret").Err()
		Error(err, "WRONGPASS invalid username-password pair or user is disabled.")
		none := connect(protocol, func(o *redis.Options) { o.Addr = at })
		err = none.Get(ctx, "secret").Err()
		Error(err, "NOAUTH Authentication required.")
		Same(redis.IsAuthError(err), true)
		Error(c.Do(ctx, "AUTH", "superfluous").Err(), "without any password configured for the default user")
	}},
	{"database", func(c *redis.Client, protocol int) {
		five := connect(protocol, func(o *redis.Options) { o.DB = 5 })
		Good(c.Set(ctx, "where", "zero", 0).Err())
		Same(five.Get(ctx, "where").Err(), redis.Nil)
		Good(five.Set(ctx, "where", "five", 0).Err())
		Same([]any{c.Get(ctx, "where").Val(), c.DBSize(ctx).Val(), five.DBSize(ctx).Val()}, []any{"zero", int64(1), int64(1)})
		Good(c.Set(ctx, "walker", 1, 0).Err())
		Same(Ok(c.Move(ctx, "walker", 5).Result()), true)
		Same([]any{c.Exists(ctx, "walker").Val(), five.Exists(ctx, "walker").Val()}, []any{int64(0), int64(1)})
		Same(Ok(c.Do(ctx, "SWAPDB", 0, 5).Result()), "OK")
		Same([]any{c.Get(ctx, "where").Val(), five.Get(ctx, "where").Val()}, []any{"five", "zero"})
		Same(Ok(c.FlushDB(ctx).Result()), "OK")
		Same([]any{c.DBSize(ctx).Val(), five.DBSize(ctx).Val()}, []any{int64(0), int64(1)})
		beyond := connect(protocol, func(o *redis.Options) { o.DB = 16 })
		Error(beyond.Ping(ctx).Err(), "ERR DB index is out of range")
	}},
	{"values", func(c *redis.Client, protocol int) {
		everyByte := make([]byte, 1280)
		for i := range everyByte {
			everyByte[i] = byte(i)
		}
		for _, value := range [][]byte{{}, []byte("\r\n$-1\r\n"), everyByte, bytes.Repeat([]byte{0xff}, MiB)} {
			Good(c.Set(ctx, "value", value, 0).Err())
			Same(bytes.Equal(Ok(c.Get(ctx, "value").Bytes()), value), true)
			Same(Ok(c.StrLen(ctx, "value").Result()), int64(len(value)))
		}
		Good(c.Set(ctx, string(everyByte), "binary key", 0).Err())
		Same(Ok(c.Get(ctx, string(everyByte)).Result()), "binary key")
		Good(c.Set(ctx, "", "empty key", 0).Err())
		Same(Ok(c.Get(ctx, "").Result()), "empty key")
		Good(c.Set(ctx, "text", "a", 0).Err())
		Same(Ok(c.GetSet(ctx, "text", "b").Result()), "a")
		Same(Ok(c.GetDel(ctx, "text").Result()), "b")
		Same(c.Get(ctx, "text").Err(), redis.Nil)
	}},
	{"mget and mset", func(c *redis.Client, protocol int) {
		var pairs, keys []string
		var values []any
		for i := range 100 {
			keys = append(keys, fmt.Sprint("m", i))
			pairs = append(pairs, keys[i], strconv.Itoa(i))
			values = append(values, strconv.Itoa(i))
		}
		Same(Ok(c.MSet(ctx, pairs).Result()), "OK")
		Same(Ok(c.MGet(ctx, append(keys, "none")...).Result()), append(values, nil))
		Same(Ok(c.MSetNX(ctx, "m0", "x", "fresh", "y").Result()), false)
		Same(c.Get(ctx, "fresh").Err(), redis.Nil)
		Same(Ok(c.MSetNX(ctx, map[string]any{"fresh": "y"}).Result()), true)
		Same(Ok(c.Exists(ctx, "m0", "m0", "none").Result()), int64(2))
		Same(Ok(c.Del(ctx, keys[:50]...).Result()), int64(50))
		Same(Ok(c.Unlink(ctx, keys...).Result()), int64(50))
	}},
	{"set options", func(c *redis.Client, protocol int) {
		soon := time.Now().Add(100 * time.Second).Truncate(time.Second)
		set := func(value string, args redis.SetArgs) string { return Ok(c.SetArgs(ctx, "k", value, args).Result()) }
		Same(Ok(c.SetNX(ctx, "k", "1", 0).Result()), true)
		Same(Ok(c.SetNX(ctx, "k", "2", time.Minute).Result()), false)
		Same(Ok(c.SetXX(ctx, "none", "2", time.Minute).Result()), false)
		Same(Ok(c.SetXX(ctx, "k", "2", 50*time.Second).Result()), true)
		Same(Ok(c.Set(ctx, "k", "3", redis.KeepTTL).Result()), "OK")
		Between(45*time.Second, Ok(c.TTL(ctx, "k").Result()), 50*time.Second)
		Good(c.Set(ctx, "k", "4", 0).Err())
		Same(Ok(c.TTL(ctx, "k").Result()), time.Duration(-1))
		Good(c.Set(ctx, "k", "5", 49500*time.Millisecond).Err())
		Between(45*time.Second, Ok(c.PTTL(ctx, "k").Result()), 49500*time.Millisecond)
		Same(set("6", redis.SetArgs{ExpireAt: soon}), "OK")
		Same(Ok(c.ExpireTime(ctx, "k").Result()), time.Duration(soon.Unix())*time.Second)
		Same(Ok(c.Do(ctx, "SET", "k", "7", "PXAT", soon.UnixMilli()+7).Result()), "OK")
		Same(Ok(c.PExpireTime(ctx, "k").Result()), time.Duration(soon.UnixMilli()+7)*time.Millisecond)
		Same(set("8", redis.SetArgs{Get: true, KeepTTL: true}), "7")
		Same(set("9", redis.SetArgs{Get: true, Mode: "NX"}), "8")
		Same(c.SetArgs(ctx, "fresh", "9", redis.SetArgs{Get: true, Mode: "NX"}).Err(), redis.Nil)
		Same(c.SetArgs(ctx, "none", "9", redis.SetArgs{Mode: "XX"}).Err(), redis.Nil)
		Same(Ok(c.Do(ctx, "SET", "k", "old", "PXAT", 1).Result()), "OK")
		Same(Ok(c.Exists(ctx, "k").Result()), int64(0))
		Error(c.Do(ctx, "SET", "k", "v", "EX", 0).Err(), "ERR invalid expire time in 'set' command")
		Error(c.Do(ctx, "SET", "k", "v", "EX", 1, "PX", 1).Err(), "ERR syntax error")
		Same(Ok(c.SetEx(ctx, "sx", "v", time.Minute).Result()), "OK")
		Same(Ok(c.Do(ctx, "PSETEX", "sx", 60000, "v").Result()), "OK")
	}},
	{"expiry", func(c *redis.Client, protocol int) {
		soon := time.Now().Add(100 * time.Second).Truncate(time.Second)
		Same([]any{c.TTL(ctx, "none").Val(), c.PTTL(ctx, "none").Val()}, []any{time.Duration(-2), time.Duration(-2)})
		Good(c.Set(ctx, "k", "v", 0).Err())
		Same([]any{c.ExpireXX(ctx, "k", 100*time.Second).Val(), c.ExpireNX(ctx, "k", 100*time.Second).Val()}, []any{false, true})
		Same([]any{c.ExpireGT(ctx, "k", 50*time.Second).Val(), c.ExpireLT(ctx, "k", 50*time.Second).Val()}, []any{false, true})
		Same(Ok(c.PExpire(ctx, "k", 90*time.Second).Result()), true)
		Between(85*time.Second, Ok(c.PTTL(ctx, "k").Result()), 90*time.Second)
		Same(Ok(c.ExpireAt(ctx, "k", soon).Result()), true)
		Same(Ok(c.ExpireTime(ctx, "k").Result()), time.Duration(soon.Unix())*time.Second)
		Same(Ok(c.PExpireAt(ctx, "k", soon.Add(time.Millisecond)).Result()), true)
		Same(Ok(c.PExpireTime(ctx, "k").Result()), time.Duration(soon.UnixMilli()+1)*time.Millisecond)
		Same([]any{c.Persist(ctx, "k").Val(), c.Persist(ctx, "k").Val()}, []any{true, false})
		Same(Ok(c.GetEx(ctx, "k", 40*time.Second).Result()), "v")
		Between(35*time.Second, Ok(c.TTL(ctx, "k").Result()), 40*time.Second)
		Same(Ok(c.GetEx(ctx, "k", 0).Result()), "v")
		Same(Ok(c.TTL(ctx, "k").Result()), time.Duration(-1))
		Same([]any{c.Expire(ctx, "k", 0).Val(), c.Exists(ctx, "k").Val()}, []any{true, int64(0)})
		Good(c.Set(ctx, "short", "v", 30*time.Millisecond).Err())
		Eventually("expiry", func() bool { return c.Get(ctx, "short").Err() == redis.Nil })
		Same(Ok(c.TTL(ctx, "short").Result()), time.Duration(-2))
	}},
	{"counters", func(c *redis.Client, protocol int) {
		Same([]int64{c.Incr(ctx, "n").Val(), c.IncrBy(ctx, "n", 41).Val(), c.Decr(ctx, "n").Val(), c.DecrBy(ctx, "n", 40).Val()}, []int64{1, 42, 41, 1})
		Good(c.Set(ctx, "n", int64(1<<63-1), 0).Err())
		Error(c.Incr(ctx, "n").Err(), "ERR increment or decrement would overflow")
		Same([]float64{c.IncrByFloat(ctx, "f", 10.5).Val(), c.IncrByFloat(ctx, "f", -10.25).Val()}, []float64{10.5, 0.25})
		Good(c.Set(ctx, "f", "5.0e3", 0).Err())
		Same(Ok(c.IncrByFloat(ctx, "f", 200).Result()), 5200.0)
		Same(Ok(c.Get(ctx, "f").Result()), "5200")
		Good(c.Set(ctx, "text", "frog", 0).Err())
		Error(c.Incr(ctx, "text").Err(), "ERR value is not an integer or out of range")
		Error(c.IncrByFloat(ctx, "text", 1).Err(), "ERR value is not a valid float")
	}},
	{"ranges", func(c *redis.Client, protocol int) {
		Same([]int64{c.Append(ctx, "s", "Hello ").Val(), c.Append(ctx, "s", "World").Val()}, []int64{6, 11})
		Same([]string{c.GetRange(ctx, "s", 0, 4).Val(), c.GetRange(ctx, "s", -5, -1).Val(), c.GetRange(ctx, "s", 5, 2).Val()}, []string{"Hello", "World", ""})
		Same(Ok(c.SetRange(ctx, "s", 6, "Ponds").Result()), int64(11))
		Same(Ok(c.Get(ctx, "s").Result()), "Hello Ponds")
		Same(Ok(c.SetRange(ctx, "pad", 3, "x").Result()), int64(4))
		Same(Ok(c.Get(ctx, "pad").Result()), "\x00\x00\x00x")
		Error(c.SetRange(ctx, "s", -1, "x").Err(), "ERR offset is out of range")
	}},
	{"keyspace", func(c *redis.Client, protocol int) {
		Good(c.Set(ctx, "a", 1, 100*time.Second).Err())
		Same(Ok(c.Rename(ctx, "a", "b").Result()), "OK")
		Between(90*time.Second, Ok(c.TTL(ctx, "b").Result()), 100*time.Second)
		Error(c.Rename(ctx, "a", "b").Err(), "ERR no such key")
		Good(c.Set(ctx, "c", 3, 0).Err())
		Same([]bool{c.RenameNX(ctx, "b", "c").Val(), c.RenameNX(ctx, "b", "d").Val()}, []bool{false, true})
		Same([]int64{c.Copy(ctx, "d", "c", 0, false).Val(), c.Copy(ctx, "d", "c", 0, true).Val(), c.Copy(ctx, "d", "d", 3, false).Val()}, []int64{0, 1, 1})
		Same(Ok(connect(protocol, func(o *redis.Options) { o.DB = 3 }).Get(ctx, "d").Result()), "1")
		Same([]any{c.Type(ctx, "c").Val(), c.Type(ctx, "none").Val(), c.Touch(ctx, "c", "d", "none").Val()}, []any{"string", "none", int64(2)})
		Same(slices.Contains([]string{"c", "d"}, Ok(c.RandomKey(ctx).Result())), true)
		Same(Ok(c.ObjectEncoding(ctx, "c").Result()), "int")
		Same(c.ObjectEncoding(ctx, "none").Err(), redis.Nil)
		Good(c.ObjectIdleTime(ctx, "c").Err())
		Good(c.ObjectRefCount(ctx, "c").Err())
		Between(1, Ok(c.MemoryUsage(ctx, "c").Result()), 1000)
		Same(Ok(c.FlushAll(ctx).Result()), "OK")
		Same(c.RandomKey(ctx).Err(), redis.Nil)
		Same(Ok(c.DBSize(ctx).Result()), int64(0))
	}},
	{"pipeline", func(c *redis.Client, protocol int) {
		replies := Ok(c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range 1000 {
				p.Set(ctx, fmt.Sprint("p", i), i, 0)
				p.Get(ctx, fmt.Sprint("p", i))
			}
			return nil
		}))
		Same(len(replies), 2000)
		for i := range 1000 {
			Same(replies[2*i+1].(*redis.StringCmd).Val(), strconv.Itoa(i))
		}
		replies, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "text", "frog", 0)
			p.Incr(ctx, "text")
			p.Do(ctx, "NOSUCH")
			p.Get(ctx, "text")
			return nil
		})
		Error(err, "ERR value is not an integer")
		Error(replies[2].Err(), "ERR unknown command")
		Same(replies[3].(*redis.StringCmd).Val(), "frog")
	}},
	{"large pipeline", func(c *redis.Client, protocol int) {
		replies := Ok(c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for range 30000 {
				p.Incr(ctx, "big")
			}
			return nil
		}))
		for i, reply := range replies {
			Same(reply.(*redis.IntCmd).Val(), int64(i+1))
		}
		var keys []string
		Ok(c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range 16 {
				keys = append(keys, fmt.Sprint("block", i))
				p.Set(ctx, keys[i], bytes.Repeat([]byte{byte(i)}, MiB), 0)
			}
			return nil
		}))
		for i, block := range Ok(c.MGet(ctx, keys...).Result()) {
			Same(block.(string) == strings.Repeat(string([]byte{byte(i)}), MiB), true)
		}
		Same(Ok(c.Del(ctx, keys...).Result()), int64(16))
	}},
	{"transaction", func(c *redis.Client, protocol int) {
		replies, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "a", 1, 0)
			p.Incr(ctx, "a")
			p.Get(ctx, "none")
			return nil
		})
		Same(err, redis.Nil)
		Same(replies[1].(*redis.IntCmd).Val(), int64(2))
		_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "text", "frog", 0)
			p.Incr(ctx, "text")
			p.Set(ctx, "after", "done", 0)
			return nil
		})
		Error(err, "ERR value is not an integer or out of range")
		Same(c.Get(ctx, "after").Val(), "done")
		_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "aborted", 1, 0)
			p.Do(ctx, "NOSUCH")
			return nil
		})
		Error(err, "EXECABORT Transaction discarded because of previous errors.")
		Same(redis.IsExecAbortError(err), true)
		Same(c.Exists(ctx, "aborted").Val(), int64(0))
		one := c.Conn()
		defer one.Close()
		say := func(words ...any) any { return Ok(one.Do(ctx, words...).Result()) }
		Same([]any{say("MULTI"), say("SET", "dropped", 1)}, []any{"OK", "QUEUED"})
		Error(one.Do(ctx, "MULTI").Err(), "ERR MULTI calls can not be nested")
		Same([]any{say("DISCARD"), say("EXISTS", "dropped")}, []any{"OK", int64(0)})
		Error(one.Do(ctx, "EXEC").Err(), "ERR EXEC without MULTI")
		Error(one.Do(ctx, "DISCARD").Err(), "ERR DISCARD without MULTI")
	}},
	{"watch", func(c *redis.Client, protocol int) {
		Good(c.Set(ctx, "w", 1, 0).Err())
		err := c.Watch(ctx, func(tx *redis.Tx) error {
			Good(c.Set(ctx, "w", 2, 0).Err())
			_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "w", 3, 0).Err() })
			return err
		}, "w")
		Same(err, redis.TxFailedErr)
		Same(c.Get(ctx, "w").Val(), "2")
		Good(c.Set(ctx, "sum", 0, 0).Err())
		Together(8, func(int) {
			for added := 0; added < 25; {
				err := c.Watch(ctx, func(tx *redis.Tx) error {
					value := Ok(tx.Get(ctx, "sum").Int())
					_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "sum", value+1, 0).Err() })
					return err
				}, "sum")
				if err == nil {
					added++
				} else if !errors.Is(err, redis.TxFailedErr) {
					Good(err)
				}
			}
		})
		Same(c.Get(ctx, "sum").Val(), "200")
	}},
	{"scan", func(c *redis.Client, protocol int) {
		fill := func(prefix string, count int) {
			var pairs []string
			for i := range count {
				pairs = append(pairs, fmt.Sprintf("%s:%d", prefix, i), "v")
			}
			Good(c.MSet(ctx, pairs).Err())
		}
		fill("scan", 5000)
		fill("other", 500)
		all := func(iterator *redis.ScanIterator) int {
			seen := map[string]bool{}
			for iterator.Next(ctx) {
				seen[iterator.Val()] = true
			}
			Good(iterator.Err())
			return len(seen)
		}
		Same(all(c.Scan(ctx, 0, "scan:*", 100).Iterator()), 5000)
		Same(all(c.Scan(ctx, 0, "", 1000).Iterator()), 5500)
		Same(all(c.Scan(ctx, 0, "other:?", 500).Iterator()), 10)
		Same(all(c.ScanType(ctx, 0, "", 500, "string").Iterator()), 5500)
		Same(all(c.ScanType(ctx, 0, "", 500, "list").Iterator()), 0)
		Same(len(Ok(c.Keys(ctx, "scan:*").Result())), 5000)
		Same(len(Ok(c.Keys(ctx, "other:[12]").Result())), 2)
		for iterator := c.Scan(ctx, 0, "scan:*", 50).Iterator(); iterator.Next(ctx); {
			Good(c.Unlink(ctx, iterator.Val()).Err())
		}
		Same(c.DBSize(ctx).Val(), int64(500))
		Error(c.Do(ctx, "SCAN", "frog").Err(), "ERR invalid cursor")
	}},
	{"errors", func(c *redis.Client, protocol int) {
		fails := func(text string, words ...any) {
			err := c.Do(ctx, words...).Err()
			Error(err, text)
			var typed redis.Error
			Same(errors.As(err, &typed), true)
		}
		fails("ERR wrong number of arguments for 'get' command", "GET")
		fails("ERR wrong number of arguments for 'del' command", "DEL")
		fails("ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", "NOSUCH", "a", "b")
		fails("ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.", "CLIENT", "NOSUCH")
		fails("ERR value is not an integer or out of range", "EXPIRE", "k", "soon")
		fails("ERR syntax error", "SET", "k", "v", "SOMEHOW")
		fails("NOPROTO unsupported protocol version", "HELLO", 9)
		Same(Ok(c.Ping(ctx).Result()), "PONG")
	}},
	{"server", func(c *redis.Client, protocol int) {
		Good(c.Set(ctx, "k", "v", 0).Err())
		lines := strings.Split(Ok(c.Info(ctx).Result()), "\r\n")
		for _, line := range []string{"redis_mode:standalone", "role:master", "cluster_enabled:0", "db0:keys=1,expires=0,avg_ttl=0"} {
			Same(slices.Contains(lines, line), true)
		}
		before := Ok(c.ConfigGet(ctx, "maxmemory").Result())["maxmemory"]
		Same(Ok(c.ConfigSet(ctx, "maxmemory", "300mb").Result()), "OK")
		Same(Ok(c.ConfigGet(ctx, "maxmem*ry").Result()), map[string]string{"maxmemory": strconv.Itoa(300 * MiB)})
		Good(c.ConfigSet(ctx, "maxmemory", before).Err())
		Same(Ok(c.ConfigGet(ctx, "nosuch*").Result()), map[string]string{})
		Error(c.ConfigSet(ctx, "nosuch", "1").Err(), "CONFIG SET")
		Same(Ok(c.ConfigResetStat(ctx).Result()), "OK")
		commands := Ok(c.Command(ctx).Result())
		Same([]any{commands["get"].Arity, commands["get"].ReadOnly, commands["set"].FirstKeyPos}, []any{int8(2), true, int8(1)})
		Same(Ok(c.CommandGetKeys(ctx, "MSET", "a", 1, "b", 2).Result()), []string{"a", "b"})
		Same(slices.Contains(Ok(c.CommandList(ctx, nil).Result()), "get"), true)
		Same(Ok(c.Do(ctx, "ROLE").Slice())[0], "master")
		Same(len(Ok(c.Do(ctx, "MODULE", "LIST").Slice())), 0)
		Between(-5*time.Second, time.Since(Ok(c.Time(ctx).Result())), 5*time.Second)
		Good(c.Do(ctx, "SLOWLOG", "RESET").Err())
		slow := c.ConfigGet(ctx, "slowlog-log-slower-than").Val()["slowlog-log-slower-than"]
		Good(c.ConfigSet(ctx, "slowlog-log-slower-than", "0").Err())
		Good(c.Set(ctx, "slow one", "v", 0).Err())
		Good(c.ConfigSet(ctx, "slowlog-log-slower-than", slow).Err())
		Same(slices.ContainsFunc(Ok(c.SlowLogGet(ctx, 10).Result()), func(entry redis.SlowLog) bool {
			return slices.Equal(entry.Args, []string{"set", "slow one", "v"})
		}), true)
		Same(len(Ok(c.Do(ctx, "LATENCY", "LATEST").Slice())), 0)
	}},
	{"clients", func(c *redis.Client, protocol int) {
		name := fmt.Sprint("victim-", protocol)
		victim := connect(protocol, func(o *redis.Options) { o.ClientName = name; o.PoolSize = 1 })
		id := Ok(victim.ClientID(ctx).Result())
		Same(strings.Count(Ok(c.ClientList(ctx).Result()), " name="+name+" "), 1)
		Same(Ok(c.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Result()), int64(1))
		Same(Ok(c.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Result()), int64(0))
		Same(strings.Contains(Ok(c.ClientList(ctx).Result()), name), false)
		Error(c.ClientKill(ctx, "127.0.0.1:1").Err(), "ERR No such client")
		Same(Ok(c.Do(ctx, "CLIENT", "NO-EVICT", "ON").Result()), "OK")
	}},
	{"reconnect", func(c *redis.Client, protocol int) {
		name := fmt.Sprint("again-", protocol)
		victim := connect(protocol, func(o *redis.Options) { o.ClientName = name; o.PoolSize = 1; o.DB = 2; o.MaxRetries = 3 })
		Good(victim.Set(ctx, "before", 1, 0).Err())
		for range 3 {
			id := Ok(victim.ClientID(ctx).Result())
			Same(Ok(c.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Result()), int64(1))
			Same(Ok(victim.Get(ctx, "before").Result()), "1")
			Same([]any{Ok(victim.ClientID(ctx).Result()) > id, Ok(victim.ClientGetName(ctx).Result())}, []any{true, name})
		}
	}},
	{"workers", func(c *redis.Client, protocol int) {
		pool := connect(protocol, func(o *redis.Options) { o.PoolSize = 20 })
		defer pool.Close()
		Together(50, func(int) {
			for range 100 {
				Good(pool.Incr(ctx, "total").Err())
			}
		})
		Same(Ok(c.Get(ctx, "total").Result()), "5000")
	}},
	{"cluster refused", func(c *redis.Client, protocol int) {
		const refused = "ERR This instance has cluster support disabled"
		Error(c.ClusterInfo(ctx).Err(), refused)
		Error(c.ClusterSlots(ctx).Err(), refused)
		Error(c.ClusterNodes(ctx).Err(), refused)
		Error(c.ClusterShards(ctx).Err(), refused)
		Error(c.ReadOnly(ctx).Err(), refused)
		Error(c.Do(ctx, "SENTINEL", "MASTERS").Err(), "ERR unknown command")
		Same(Ok(c.Wait(ctx, 0, 10*time.Millisecond).Result()), int64(0))
	}},
	{"timeout", func(c *redis.Client, protocol int) {
		slow := connect(protocol, func(o *redis.Options) { o.ReadTimeout = 100 * time.Millisecond; o.PoolSize = 1 })
		Good(slow.Set(ctx, "t", "right", 0).Err())
		Same(Ok(c.ClientPause(ctx, 400*time.Millisecond).Result()), true)
		Error(slow.Get(ctx, "wrong answer").Err(), "timeout")
		// The late reply must not be taken for this one.
		Eventually("the end of the pause", func() bool {
			value, err := slow.Get(ctx, "t").Result()
			if err == nil {
				Same(value, "right")
			}
			return err == nil
		})
	}},
}

func serverVersion(c *redis.Client) [2]int {
	var version [2]int
	for _, line := range strings.Split(c.Info(ctx, "server").Val(), "\r\n") {
		if text, found := strings.CutPrefix(line, "redis_version:"); found {
			Ok(fmt.Sscanf(text, "%d.%d", &version[0], &version[1]))
		}
	}
	return version
}

func helloRefused() {
	client := connect(3, func(o *redis.Options) { o.Addr = NoHello; o.DB = 4; o.ClientName = "fallback"; o.PoolSize = 1 })
	Same(Ok(client.Set(ctx, "old", "way", 0).Result()), "OK")
	Same(Ok(client.Get(ctx, "old").Result()), "way")
	info := Ok(client.ClientInfo(ctx).Result())
	Same([]any{info.Resp, info.DB, info.Name}, []any{2, 4, "fallback"})
}

// silent drops the library's log: refusals are part of the checks.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func main() {
	redis.SetLogger(silent{})
	report := New("go-redis", ModuleVersion("github.com/redis/go-redis/v9"))
	for _, protocol := range []int{2, 3} {
		for _, check := range shared {
			client := redis.NewClient(options(protocol))
			report.Run(fmt.Sprintf("resp%d %s", protocol, check.name), func() {
				Good(client.FlushAll(ctx).Err())
				check.run(client, protocol)
			})
			client.Close()
		}
	}
	report.Run("resp3 hello refused", helloRefused)
	report.Print()
}
