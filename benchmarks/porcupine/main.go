// Porcupine beside redstep's linearizability checker: the same histories, checked and timed here.
//
// The one argument is a file of histories, JSON. Each line on stdin, "index times", is answered by a line
// "nanoseconds verdict": how long it took to check that history so many times, and what came of it.
package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// An event of a history. The completion of an operation of which nobody heard is told at the very end, and is unknown.
type event struct {
	Id       int
	Client   int
	Returns  bool
	Unknown  bool
	Function string
	Key      string
	Value    string
	Old      string
}

type history struct {
	Model  string
	Events []event
}

type input struct {
	function uint8
	key      string
	value    string
	old      string
}

type output struct {
	value   string
	unknown bool
}

const (
	read uint8 = iota
	write
	appendTo
	compareAndSet
	enqueue
	dequeue
)

var functions = map[string]uint8{
	"read": read, "write": write, "append": appendTo, "cas": compareAndSet, "enqueue": enqueue, "dequeue": dequeue,
}

func hashOfString(state interface{}) uint64 {
	hash := fnv.New64a()
	hash.Write([]byte(state.(string)))
	return hash.Sum64()
}

func stepOfRegister(state, given, got interface{}) (bool, interface{}) {
	value, call, reply := state.(string), given.(input), got.(output)
	switch call.function {
	case read:
		return reply.unknown || reply.value == value, value
	case write:
		return true, call.value
	case appendTo:
		return true, value + call.value
	default:
		if value == call.old {
			return reply.unknown || reply.value == "true", call.value
		}
		return reply.unknown || reply.value == "false", value
	}
}

// A value of the queue ends with a space.
func stepOfQueue(state, given, got interface{}) (bool, interface{}) {
	values, call, reply := state.(string), given.(input), got.(output)
	if call.function == enqueue {
		return true, values + call.value + " "
	}
	first, rest, _ := strings.Cut(values, " ")
	return reply.unknown || reply.value == first, rest
}

func byKey(events []porcupine.Event) [][]porcupine.Event {
	keys := make(map[int]string)
	parts := make(map[string][]porcupine.Event)
	for _, each := range events {
		if each.Kind == porcupine.CallEvent {
			keys[each.Id] = each.Value.(input).key
		}
		key := keys[each.Id]
		parts[key] = append(parts[key], each)
	}
	found := make([][]porcupine.Event, 0, len(parts))
	for _, part := range parts {
		found = append(found, part)
	}
	return found
}

func empty() interface{} { return "" }

var models = map[string]porcupine.Model{
	"register": {Init: empty, Step: stepOfRegister, Hash: hashOfString},
	"store":    {Init: empty, Step: stepOfRegister, Hash: hashOfString, PartitionEvent: byKey},
	"queue":    {Init: empty, Step: stepOfQueue, Hash: hashOfString},
}

func eventsOf(each history) []porcupine.Event {
	events := make([]porcupine.Event, 0, len(each.Events))
	for _, one := range each.Events {
		event := porcupine.Event{Id: one.Id, ClientId: one.Client, Kind: porcupine.CallEvent}
		if one.Returns {
			event.Kind = porcupine.ReturnEvent
			event.Value = output{one.Value, one.Unknown}
		} else {
			event.Value = input{functions[one.Function], one.Key, one.Value, one.Old}
		}
		events = append(events, event)
	}
	return events
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	fail(err)
	var histories []history
	fail(json.Unmarshal(text, &histories))
	events := make([][]porcupine.Event, 0, len(histories))
	for _, each := range histories {
		events = append(events, eventsOf(each))
	}
	for {
		var index, times int
		if _, err := fmt.Scanln(&index, &times); err != nil {
			return
		}
		legal := false
		began := time.Now()
		for range times {
			legal = porcupine.CheckEvents(models[histories[index].Model], events[index])
		}
		fmt.Println(time.Since(began).Nanoseconds(), legal)
	}
}
